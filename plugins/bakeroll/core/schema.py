"""What is made from the models of environment files: the JSON schema for editors, the page for people.

``python -m bakeroll.core.schema`` writes both, ``--check`` compares them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema

from bakeroll.core.config import Environment
from bakeroll.core.config_types import duration_text, inner_model

REPOSITORY = Path(__file__).resolve().parents[3]
SCHEMA = REPOSITORY / "dags" / "environments" / "schema.json"
PAGE = REPOSITORY / "docs" / "environment.md"

INTRODUCTION = """# Environment files

One file an environment: `dags/environments/<name>.yaml`; its DAGs are `rolling_deployment_<name>` and, for
[drains outside deployments](drains.md), `drain_terminating_<name>`. A name has small letters, digits and `_`,
32 at most, a letter first, no `_` last. It is not `sg`, `access` or `network` and does not begin with `aws`,
`amazon`, `amzn`, `internal_` or `sg_`: AWS or Terraform's states have these.

An unknown key, a wrong type or an impossible value is refused in one line that names file, key, value and
what was expected. It shows as an import error in the Airflow UI, and the other environments go on.

Your editor checks the file too, by `dags/environments/schema.json`. Durations are a whole number and a unit:
`30s`, `15m`, `2h`. Secrets are not written here but kept in Airflow connections. Words such as live target:
[architecture](architecture.md#words).

| key | default | meaning |
|---|---|---|
"""


class _AsInTheFile(GenerateJsonSchema):
    """Writes defaults as a file has them: pydantic writes a duration as ``PT15M``, which is refused there."""

    def encode_default(self, dft: Any) -> Any:
        return duration_text(dft) if isinstance(dft, timedelta) else super().encode_default(dft)


def schema_text() -> str:
    """Return the schema as it is kept beside the environment files."""
    made = Environment.model_json_schema(schema_generator=_AsInTheFile)
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **made}
    return json.dumps(schema, indent=2) + "\n"


def page_text() -> str:
    """Return the page as it is kept in ``docs``."""
    return INTRODUCTION + "\n".join(_rows(Environment, "")) + "\n"


def _rows(model: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        key = f"{prefix}{name}"
        inner, path = _inner(field, key)
        if field.description or not inner:
            yield f"| `{key}` | {_default(field)} | {field.description or ''} |"
        if inner:
            yield from _rows(inner, f"{path}.")


def _inner(field: FieldInfo, key: str) -> tuple[type[BaseModel] | None, str]:
    """Return the model behind a key, and the way to its keys; None if there is none."""
    inner, named = inner_model(field.annotation)
    return inner, f"{key}.<name>" if named else key


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value: Any = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        return ""
    if isinstance(value, timedelta):
        return f"`{duration_text(value)}`"
    return f"`{json.dumps(value)}`"


def main(arguments: list[str]) -> int:
    """Write schema and page, or with ``--check`` compare them.

    :return: 1 if ``--check`` finds one out of date.
    """
    made = {SCHEMA: schema_text(), PAGE: page_text()}
    if arguments != ["--check"]:
        for path, text in made.items():
            path.write_text(text, encoding="utf-8")
        return 0
    stale = [path for path, text in made.items() if not path.is_file() or path.read_text("utf-8") != text]
    for path in stale:
        sys.stderr.write(
            f"{path.relative_to(REPOSITORY)} is out of date: run `python -m bakeroll.core.schema`\n"
        )
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
