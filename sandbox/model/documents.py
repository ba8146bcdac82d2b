"""SSM command documents: schema 2.2 with one ``aws:runShellScript`` step; anything else is refused.

Source: Systems Manager user guide, "Data elements and parameters" and "Command document plugin reference".
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from sandbox.model.errors import ServiceError

Parameters = Mapping[str, Sequence[str]]
DEFAULT_EXECUTION_TIMEOUT_SECONDS = 3600
_PLACE = re.compile(r"\{\{\s*([A-Za-z0-9_]+)\s*\}\}")


def render(document: Mapping[str, Any], parameters: Parameters) -> tuple[str, float]:
    """Put the parameters into a document.

    :param document: its parsed content.
    :param parameters: as SendCommand takes them: every value is a list of strings.
    :return: the shell script and its execution timeout in seconds.
    :raises ServiceError: ``InvalidParameters``, or ``InvalidDocument`` for what the sandbox does not model.
    """
    step = _only_step(document)
    values = _values(document.get("parameters") or {}, parameters)
    inputs = step.get("inputs") or {}
    unknown = set(inputs) - {"runCommand", "timeoutSeconds", "workingDirectory"}
    if unknown:
        raise _refused(f"aws:runShellScript with the inputs {', '.join(sorted(unknown))}")
    lines: list[str] = []
    if inputs.get("workingDirectory"):
        directory = _fill(str(inputs["workingDirectory"]), values)
        lines.append(f"cd {_quote(directory)} || exit 1" if directory else "")
    run = inputs.get("runCommand") or []
    for line in [run] if isinstance(run, str) else run:
        lines.extend(_fill_line(str(line), values))
    timeout = _fill(str(inputs.get("timeoutSeconds") or DEFAULT_EXECUTION_TIMEOUT_SECONDS), values)
    if not timeout.isdigit():
        raise ServiceError("InvalidParameters", f"timeoutSeconds is not a number: {timeout}")
    return "\n".join(lines) + "\n", float(timeout)


def _only_step(document: Mapping[str, Any]) -> Mapping[str, Any]:
    if document.get("schemaVersion") != "2.2":
        raise _refused(f"A document of schema version {document.get('schemaVersion')}")
    steps = document.get("mainSteps") or []
    if len(steps) != 1:
        raise _refused(f"A document of {len(steps)} steps")
    step: Mapping[str, Any] = steps[0]
    if step.get("action") != "aws:runShellScript":
        raise _refused(f"The plugin {step.get('action')}")
    unknown = set(step) - {"action", "name", "inputs", "precondition"}
    if unknown:
        raise _refused(f"A step with {', '.join(sorted(unknown))}")
    if step.get("precondition") not in (None, {"StringEquals": ["platformType", "Linux"]}):
        raise _refused(f"The precondition {json.dumps(step['precondition'])}")
    return step


def _values(declared: Mapping[str, Mapping[str, Any]], given: Parameters) -> dict[str, str | list[str]]:
    unknown = set(given) - set(declared)
    if unknown:
        raise ServiceError(
            "InvalidParameters", f"Parameters not in the document: {', '.join(sorted(unknown))}"
        )
    values: dict[str, str | list[str]] = {}
    for name, rules in declared.items():
        kind = rules.get("type", "String")
        if kind not in {"String", "StringList"}:
            raise _refused(f"A parameter of type {kind}")
        if name in given:
            value: Any = list(given[name]) if kind == "StringList" else (given[name] or [""])[0]
        elif "default" in rules:
            value = rules["default"]
        else:
            raise ServiceError("InvalidParameters", f"Parameter {name} has no value")
        for item in value if isinstance(value, list) else [value]:
            _check(name, rules, str(item))
        values[name] = [str(item) for item in value] if isinstance(value, list) else str(value)
    return values


def _check(name: str, rules: Mapping[str, Any], value: str) -> None:
    allowed = rules.get("allowedValues")
    if allowed and value not in [str(item) for item in allowed]:
        raise ServiceError(
            "InvalidParameters", f"Parameter {name}: {value} is not one of {', '.join(map(str, allowed))}"
        )
    pattern = rules.get("allowedPattern")
    if pattern and not re.search(pattern, value):
        raise ServiceError("InvalidParameters", f"Parameter {name}: {value} does not match {pattern}")


def _fill_line(line: str, values: Mapping[str, str | list[str]]) -> list[str]:
    alone = _PLACE.fullmatch(line.strip())
    if alone is not None:
        value = values.get(alone[1])
        if isinstance(value, list):
            return value
    return [_fill(line, values)]


def _fill(text: str, values: Mapping[str, str | list[str]]) -> str:
    def replacement(match: re.Match[str]) -> str:
        value = values.get(match[1])
        if value is None:
            # Not a parameter of the document: shell text that only looks like one stays as it is.
            return match[0]
        return json.dumps(value) if isinstance(value, list) else value

    return _PLACE.sub(replacement, text)


def _quote(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _refused(what: str) -> ServiceError:
    return ServiceError("InvalidDocument", f"{what} is not modelled by the sandbox.")
