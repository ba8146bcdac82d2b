"""What is wrong with a value of an environment file, in the words of somebody who writes YAML."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from typing import Any, get_origin

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from bakeroll.core.config_types import Matching, inner_model

PAGE = "see docs/environment.md"


def sentence(root: type[BaseModel], fault: ErrorDetails) -> str:
    """Return key, value and what was expected.

    :param root: the model of the whole file.
    :param fault: one of the faults that it found.
    """
    location = [str(part) for part in fault["loc"] if part != "[key]"]
    key = ".".join(location)
    if fault["type"] == "extra_forbidden":
        known = _keys(_model_at(root, location[:-1]) or root)
        near = get_close_matches(location[-1], known, n=1)
        meant = f"; is {near[0]} meant?" if near else ""
        return (
            f"{key}: unknown key (value {shown(fault['input'])}); expected one of {', '.join(known)}{meant}"
        )
    if fault["type"] == "missing":
        return f"{key}: is missing; add it: {_wanted(root, location)} ({PAGE})"
    return f"{key}: found {shown(fault['input'])}; {_expected(root, location, fault)}"


def shown(value: Any) -> str:
    """Return a value as short text."""
    if value is None:
        return "nothing"
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _expected(root: type[BaseModel], location: Sequence[str], fault: ErrorDetails) -> str:
    kind, value = fault["type"], fault["input"]
    if kind in _WORDS:
        return f"expected {_WORDS[kind](value, fault.get('ctx', {}))}"
    if kind in {"model_type", "dict_type"}:
        return _wanted(root, location)
    # What is left is said by a validator of our own; a test holds that nothing else is.
    return fault["msg"].removeprefix("Value error, ")


_WORDS: dict[str, Callable[[Any, dict[str, Any]], str]] = {
    "string_type": lambda value, _: _quoted(value),
    "string_too_short": lambda *_: "a text that is not empty",
    "string_too_long": lambda _, ctx: f"at most {ctx['max_length']} characters",
    "int_type": lambda *_: "a whole number, without quotes",
    "bool_type": lambda *_: "true or false, without quotes",
    "list_type": lambda value, _: f"a list, such as {_as_list(value)}",
    "too_short": lambda _, ctx: f"{ctx['min_length']} or more of them",
    "too_long": lambda _, ctx: f"at most {ctx['max_length']} of them",
    "greater_than_equal": lambda _, ctx: f"{ctx['ge']} or more",
    "less_than_equal": lambda _, ctx: f"{ctx['le']} or less",
    "literal_error": lambda _, ctx: str(ctx["expected"]).replace("'", ""),
}


_KINDS: dict[object, str] = {str: "a text", list: "a list, such as [a, b]"}


def _quoted(value: Any) -> str:
    if value is None or isinstance(value, list | dict):
        return "a text"
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return f"a text in quotes, such as {json.dumps(text)}"


def _as_list(value: Any) -> str:
    return json.dumps([value]) if isinstance(value, str | int) and value != "" else "[a, b]"


def _wanted(root: type[BaseModel], location: Sequence[str]) -> str:
    """Say what a key holds."""
    field = (_model_at(root, location[:-1]) or root).model_fields.get(location[-1])
    if field is not None:
        for one in field.metadata:
            if isinstance(one, Matching):
                return f"expected {one.expected}"
        if all(inner_model(field.annotation)):
            return "expected names, and keys and values behind each, such as `web: {}`"
    model = _model_at(root, location)
    if model is None:
        holds = getattr(field, "annotation", None)
        return f"expected {_KINDS.get(get_origin(holds) or holds, 'keys and values')}"
    needed = [name for name, one in model.model_fields.items() if one.is_required()]
    rest = f"at least {' and '.join(needed)}" if needed else "or `{}`, which takes every default"
    return f"expected keys and values, {rest}"


def _model_at(root: type[BaseModel], location: Sequence[str]) -> type[BaseModel] | None:
    """Return the model that a key holds, ``location`` being the way to it; None if it holds none."""
    model: type[BaseModel] | None = root
    way = list(location)
    while way and model is not None:
        field = model.model_fields.get(way.pop(0))
        if field is None:
            return None
        model, named = inner_model(field.annotation)
        if named:
            if not way:
                return None
            way.pop(0)  # the name is no key of a model
    return model


def _keys(model: type[BaseModel]) -> list[str]:
    return sorted(model.model_fields)
