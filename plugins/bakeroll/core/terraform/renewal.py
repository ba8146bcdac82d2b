"""Judge whether a plan that is made anew may be applied in the place of the one that was shown.

It may if it does nothing that was not shown: each of its actions, each attribute and each value has to be
among those of the first plan. What is gone from it was done before the first apply was cut off.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

NOTHING = (["no-op"], ["read"])
_REPLACEMENTS = (["delete", "create"], ["create", "delete"])


def additions(shown: Mapping[str, Any], renewed: Mapping[str, Any]) -> list[str]:
    """Name what a renewed plan does beyond the one that was shown; empty if nothing.

    :param shown: the first plan, as `terraform show -json` gives it.
    :param renewed: the later one, likewise.
    :return: a few words for each, with names of attributes and outputs but never their values.
    """
    before = {(one["address"], one.get("deposed")): one["change"] for one in _acting(shown)}
    found = [words for change in _acting(renewed) for words in _resource(change, before)]
    known = _outputs(shown)
    for name, change in _outputs(renewed).items():
        if name not in known or not _permits(known[name], change, "after"):
            found.append(f"output {name}")
    return found


def _acting(plan: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    return (one for one in plan.get("resource_changes", []) if one["change"]["actions"] not in NOTHING)


def _outputs(plan: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    changes: Mapping[str, Mapping[str, Any]] = plan.get("output_changes", {})
    return {name: change for name, change in changes.items() if change["actions"] not in NOTHING}


def _resource(
    change: Mapping[str, Any], before: Mapping[tuple[str, str | None], Mapping[str, Any]]
) -> Iterator[str]:
    """Name what happens to a resource now and was not shown."""
    actions, address, deposed = change["change"]["actions"], change["address"], change.get("deposed")
    words = f"{'replace' if actions in _REPLACEMENTS else '/'.join(actions)} {address}"
    shown = before.get((address, deposed))
    if deposed:
        # It may be the old half of a replacement that makes the new one first.
        replacement = before.get((address, None))
        if shown is None and not (replacement and replacement["actions"] in _REPLACEMENTS):
            yield f"{words} (deposed)"
    elif shown is None:
        yield words
    elif actions != shown["actions"] and not _half(actions, shown["actions"]):
        yield f"{words}, which was to {'/'.join(shown['actions'])}"
    elif actions != ["delete"]:
        yield from _attributes(words, change["change"], shown)


def _half(actions: list[str], shown: list[str]) -> bool:
    """Tell whether this is what is left of a replacement whose old half is gone already."""
    return shown in _REPLACEMENTS and actions in (["create"], *_REPLACEMENTS)


def _attributes(words: str, change: Mapping[str, Any], shown: Mapping[str, Any]) -> Iterator[str]:
    before, after = change.get("before") or {}, change.get("after") or {}
    unknown = change.get("after_unknown") or {}
    for name in sorted({*after, *unknown}):
        changes = bool(unknown.get(name)) or before.get(name) != after.get(name)
        if changes and not _attribute_shown(name, change, shown):
            yield f"{words} ({name})"


def _attribute_shown(name: str, change: Mapping[str, Any], shown: Mapping[str, Any]) -> bool:
    """Tell whether an attribute was shown to change, and to this value as far as it was known."""
    unknown = (shown.get("after_unknown") or {}).get(name, False)
    old, new = (shown.get("before") or {}).get(name), (shown.get("after") or {}).get(name)
    if not unknown and old == new:
        return False  # it was to stay as it is
    return _matches(
        new,
        unknown,
        (change.get("after") or {}).get(name),
        (change.get("after_unknown") or {}).get(name, False),
    )


def _permits(shown: Mapping[str, Any], change: Mapping[str, Any], name: str) -> bool:
    return _matches(
        shown.get(name),
        shown.get(f"{name}_unknown", False),
        change.get(name),
        change.get(f"{name}_unknown", False),
    )


def _matches(shown: Any, shown_unknown: Any, value: Any, unknown: Any) -> bool:
    """Tell whether a value is the one that was shown, or one that was not known then.

    :param shown_unknown: true where the value was not known; in objects and lists, part by part.
    :param unknown: likewise of the value.
    """
    if shown_unknown is True:
        return True
    if unknown is True:
        return False
    if isinstance(value, dict) and isinstance(shown, dict):
        return all(
            _matches(shown.get(key), _part(shown_unknown, key), value.get(key), _part(unknown, key))
            for key in {*shown, *value, *_keys(shown_unknown), *_keys(unknown)}
        )
    if isinstance(value, list) and isinstance(shown, list) and len(value) == len(shown):
        return all(
            _matches(shown[n], _part(shown_unknown, n), value[n], _part(unknown, n))
            for n in range(len(value))
        )
    return bool(shown == value)


def _keys(unknown: Any) -> list[str]:
    return list(unknown) if isinstance(unknown, dict) else []


def _part(unknown: Any, key: str | int) -> Any:
    """Give what is not known of a part."""
    if isinstance(unknown, dict):
        return unknown.get(str(key), False)
    if isinstance(unknown, list) and isinstance(key, int) and key < len(unknown):
        return unknown[key]
    return False
