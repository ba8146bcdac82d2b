# ruff: noqa: E501  the table of mistakes is read by its rows
"""Environment files: what is right loads, and each kind of mistake is one line that says all."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from pydantic import ValidationError

from bakeroll.core import config, config_faults, schema
from bakeroll.core.config_types import DURATION
from bakeroll.core.errors import ConfigError
from bakeroll.core.gate_settings import Gate, HttpCheck

ENVIRONMENTS = Path(__file__).parents[2] / "dags" / "environments"
GOOD = (ENVIRONMENTS / "staging.yaml").read_text()


def write(folder: Path, text: str, name: str = "staging.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_the_repositorys_environments_are_right():
    environments, errors = config.load_all(ENVIRONMENTS)
    assert not errors
    assert sorted(environments) == ["development", "production", "staging"]
    assert environments["production"].approval
    assert environments["production"].fleets["web"].drain.timeout == timedelta(minutes=5)


def test_the_schema_is_up_to_date_and_accepts_the_repositorys_environments():
    assert schema.main(["--check"]) == 0
    known = yaml.safe_load(schema.schema_text())
    for path in ENVIRONMENTS.glob("*.yaml"):
        jsonschema.validate(yaml.safe_load(path.read_text()), known)


def with_defaults(node: object, name: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Find the parts of a schema that offer a default."""
    if isinstance(node, list):
        for one in node:
            yield from with_defaults(one, name)
    if isinstance(node, dict):
        if "default" in node:
            yield name, node
        for key, one in node.items():
            yield from with_defaults(one, key)


def test_each_default_that_an_editor_offers_is_right():
    known = json.loads(schema.schema_text())
    offered = list(with_defaults(known))
    durations = {node["default"] for _, node in offered if node.get("pattern") == DURATION}
    assert durations == {"15m", "5m", "5s", "0s"}
    for _, node in offered:
        jsonschema.validate(node["default"], {**node, "$defs": known["$defs"]})


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("capacity_timeout: 15m", "capcity_timeout: 15m", "fleets.web.capcity_timeout: unknown key (value '15m'); expected one of capacity_timeout, drain, gate, pause_after, waves"),
        ("    drain:", "    gate: {soak: 2}\n    drain:", "fleets.web.gate.soak: found 2; expected a whole number and a unit"),
        ("    drain:", "    gate: {sok: 2m}\n    drain:", "fleets.web.gate.sok: unknown key (value '2m'); expected one of alarms, http, insufficient_data, soak"),
        ("    drain:", "    gate: {alarms: [a, b, a]}\n    drain:", "fleets.web.gate: found {'alarms': ['a', 'b', 'a']}; expected each alarm once, 'a' is there twice"),
        ("    drain:", "    gate: {alarms: ['']}\n    drain:", "fleets.web.gate.alarms.0: found ''; expected a text that is not empty"),
        ("    drain:", "    gate: {alarms: [a], insufficient_data: alarm}\n    drain:", "fleets.web.gate.insufficient_data: found 'alarm'; expected ok, wait or fail"),
        ("    drain:", "    gate: {http: {paht: /}}\n    drain:", "fleets.web.gate.http.paht: unknown key (value '/'); expected one of body, consecutive, headers, host, path, status, timeout, url, wrong_answers"),
        ("    drain:", "    gate: {http: {path: orders}}\n    drain:", "fleets.web.gate.http.path: found 'orders'; expected a path with a / first, without spaces and #, such as /orders?state=new"),
        ("    drain:", '    gate: {http: {path: "/ HTTP/1.0"}}\n    drain:', "fleets.web.gate.http.path: found '/ HTTP/1.0'; expected a path with a / first"),
        ("    drain:", '    gate: {http: {path: "/\\n"}}\n    drain:', r"fleets.web.gate.http.path: found '/\n'; expected a path with a / first"),
        ("    drain:", '    gate: {http: {host: "a\\n"}}\n    drain:', r"fleets.web.gate.http.host: found 'a\n'; expected the name of a host and no more, such as www.example.com"),
        ("    drain:", "    gate: {http: {url: 'ftp://example.com'}}\n    drain:", "fleets.web.gate.http.url: found 'ftp://example.com'; expected http:// or https://, a host"),
        ("    drain:", "    gate: {http: {url: 'https://example.com/a'}}\n    drain:", "fleets.web.gate.http.url: found 'https://example.com/a'; expected no path here; write it as `path`"),
        ("    drain:", "    gate: {http: {url: 'https://example.com:99999'}}\n    drain:", "fleets.web.gate.http.url: found 'https://example.com:99999'; expected a port from 1 to 65535"),
        ("    drain:", "    gate: {http: {url: 'http://[::1'}}\n    drain:", "fleets.web.gate.http.url: found 'http://[::1'; expected http:// or https://, a host"),
        ("    drain:", "    gate: {http: {status: 999}}\n    drain:", "fleets.web.gate.http.status: found 999; expected 599 or less"),
        ("    drain:", "    gate: {http: {timeout: 2m}}\n    drain:", "fleets.web.gate.http.timeout: found '2m'; expected at most 30s"),
        ("    drain:", "    gate: {http: {timeout: 0s}}\n    drain:", "fleets.web.gate.http.timeout: found '0s'; expected more than 0s"),
        ("    drain:", "    gate: {http: {consecutive: 0}}\n    drain:", "fleets.web.gate.http.consecutive: found 0; expected 1 or more"),
        ("  ref: main", "  branch: main", "application.branch: unknown key (value 'main'); expected one of ref, repository"),
        ("timeout: 5m", "timeout: fast", "fleets.web.drain.timeout: found 'fast'; expected a whole number and a unit, such as 30s, 15m or 2h"),
        ("timeout: 5m", "timeout: 99999999999999h", "fleets.web.drain.timeout: found '99999999999999h'; expected at most 48h"),
        ("timeout: 5m", "timeout: 0s", "fleets.web.drain.timeout: found '0s'; expected more than 0s"),
        ('"123456789012"', "123456789012", "account_id: found 123456789012; expected twelve digits in quotes, such as \"123456789012\""),
        ("region: ap-northeast-1", "region: tokyo", "region: found 'tokyo'; expected the name of an AWS region, such as ap-northeast-1"),
        ("terraform:", "build: {ssh_source_cidrs: [0.0.0.0/0]}\nterraform:", "build.ssh_source_cidrs.0: found '0.0.0.0/0'; expected a network, not everybody"),
        ("terraform:", "build: {subnet: subnet-1}\nterraform:", "build.subnet: unknown key (value 'subnet-1'); expected one of ssh_interface, ssh_source_cidrs, subnet_id, vpc_id"),
        ("  web:", "  web:\n    waves: 100%", "fleets.web.waves: found '100%'; expected a list, such as [\"100%\"]"),
        ("  web:", "  web:\n    pause_after: [1]", "fleets.web.pause_after: found [1]; expected numbers of waves that another one follows; there are 1"),
        ("  web:", "  web:\n    pause_after: [0]", "fleets.web.pause_after.0: found 0; expected 1 or more"),
        ("  web:", "  web:\n    waves: []", "fleets.web.waves: found []; expected 1 or more of them"),
        ("  web:", "  web:\n    waves: [0, 100%]", "fleets.web.waves.0: found 0; expected a number of instances, 1 or more, or a percentage such as"),
        ("  web:", "  web:\n    waves: [true, 100%]", "fleets.web.waves.0: found true; expected a number of instances, 1 or more, or a percentage such as"),
        ("  web:", "  web:\n    waves: [101%]", "fleets.web.waves.0: found '101%'; expected a number of instances, 1 or more, or a percentage such as"),
        ("  web:", "  web:\n    waves: [1, 50%]", "fleets.web.waves: found [1, '50%']; expected \"100%\" as the last wave"),
        ("  web:", "  web:\n    waves: [50%, 25%, 100%]", "fleets.web.waves: found ['50%', '25%', '100%']; expected rising waves"),
        ("  web:", "  web:\n    waves: [50%, 3, 100%]", "fleets.web.waves: found ['50%', 3, '100%']; expected rising waves: numbers of instances first, then percentages"),
        ("  web:", "  web:\n    waves: [1,2,3,4,5,6,7,8,9,10,100%]", "fleets.web.waves: found [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, '100%']; expected at most 10 of them"),
        ("state_bucket: ", "# ", "state_bucket: is missing; add it: expected the name of an S3 bucket, 3 to 63 small letters, digits, dots and hyphens, such as example-bakeroll (see docs/environment.md)"),
        ("region:", "schedule: '61 * * * *'\nregion:", "schedule: found '61 * * * *'; expected a cron expression"),
        ("  web:", "  Web:", "fleets.Web: found 'Web'; expected a name of small letters, digits and _, a letter first, 31 at most, such as web"),
        ("[web.service]", '["a; rm -rf /"]', "fleets.web.drain.stop_units.0: found 'a; rm -rf /'; expected the name of a systemd unit with its ending, such as web.service"),
        ("[web.service]", "web.service", "fleets.web.drain.stop_units: found 'web.service'; expected a list, such as [\"web.service\"]"),
        ("[web.service]", "[web]", "fleets.web.drain.stop_units.0: found 'web'; expected the name of a systemd unit with its ending, such as web.service"),
        ("terraform:", "build: {vpc_id: 7}\nterraform:", "build.vpc_id: found 7; expected the id of a VPC, such as vpc-0a1b2c3d4e5f67890"),
        ("terraform:", "build: {subnet_id: vpc-1}\nterraform:", "build.subnet_id: found 'vpc-1'; expected the id of a subnet, such as subnet-"),
        ("terraform:", "build:\nterraform:", "build: found nothing; expected keys and values, or `{}`, which takes every default"),
        ("terraform:", "git: {connections: {'https://git.example.com': git}}\nterraform:", "git.connections.https://git.example.com: found 'https://git.example.com'; expected the name of a git host without https://, such as git.example.com"),
        ("terraform:", "git: {connections: {git.example.com: 5}}\nterraform:", "git.connections.git.example.com: found 5; expected a text in quotes, such as \"5\""),
        ("terraform:", "git: {connections: [a]}\nterraform:", "git.connections: found ['a']; expected keys and values"),
        ("region:", "approval: 'yes'\nregion:", "approval: found 'yes'; expected true or false, without quotes"),
        ("state_bucket: ", "state_bucket: X", "state_bucket: found 'X"),
        ("  ref: main", "  ref: yes", "application.ref: found true; expected a text in quotes, such as \"true\""),
        ("  ref: main", "  ref: [a]", "application.ref: found ['a']; expected a text"),
        ("    drain:", "    gate: {http: {status: '200'}}\n    drain:", "fleets.web.gate.http.status: found '200'; expected a whole number, without quotes"),
        ("    drain:", "    gate: {http: {headers: {'a b': c}}}\n    drain:", "fleets.web.gate.http.headers.a b: found 'a b'; expected the name of a header, such as Content-Type"),
        ("capacity_timeout: 15m", "capcity_timeout: 15m", "fleets.web.capcity_timeout: unknown key (value '15m'); expected one of capacity_timeout, drain, gate, pause_after, waves; is capacity_timeout meant?"),
        ("root: terraform", "binary: pulumi\n  root: terraform", "terraform.binary: found 'pulumi'; expected terraform or tofu"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_with_file_key_value_and_expectation(tmp_path, old, new, said):
    assert old in GOOD
    path = write(tmp_path, GOOD.replace(old, new, 1))
    with pytest.raises(ConfigError) as error:
        config.load(path)
    line = str(error.value)
    assert "\n" not in line
    assert line.startswith(f"{path}: {said}")


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("fleets", None, "found nothing; expected names, and keys and values behind each, such as `web: {}`"),
        (
            "fleets",
            {"web": None},
            "found nothing; expected keys and values, or `{}`, which takes every default",
        ),
        ("fleets", {}, "found {}; expected 1 or more of them"),
        ("application", None, "found nothing; expected keys and values, at least repository"),
        ("application", ..., "is missing; add it: expected keys and values, at least repository (see docs"),
        ("application", {}, "is missing; add it: expected a text (see docs"),
        ("source_ami", {"name": "a"}, "is missing; add it: expected a list, such as [a, b] (see docs"),
        ("source_ami", "debian", "found 'debian'; expected keys and values, at least owners and name"),
    ],
)
def test_a_section_that_is_missing_or_empty_is_said(tmp_path, key, value, said):
    content = yaml.safe_load(GOOD)
    if value is ...:
        del content[key]
    else:
        content[key] = value
    with pytest.raises(ConfigError) as error:
        config.load(write(tmp_path, yaml.safe_dump(content)))
    path, _, line = str(error.value).partition(": ")
    assert path.endswith("staging.yaml")
    assert line.startswith(key)
    assert line.partition(": ")[2].startswith(said)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected keys and values, found nothing"),
        ("- a\n", "expected keys and values, found ['a']"),
        ("region: [", ":1: expected the node content"),
        ("region: [", "; see docs/environment.md"),
        ("region: a\n\tb: c\n", ":2: a tab stands where YAML has spaces; indent with spaces"),
        ("region: a\nregion: b\n", ":2: key 'region' is written twice; keep one"),
        ("region: 2024-13-01\n", "a value cannot be read"),
        ("? [a, b]\n: c\n", ":1: a key must be a text"),
        ("[" * 5000, "a value cannot be read"),
    ],
)
def test_what_is_no_environment_at_all_is_said(tmp_path, text, said):
    with pytest.raises(ConfigError, match=r".*") as error:
        config.load(write(tmp_path, text))
    assert said in str(error.value)


def test_bytes_that_are_no_text_are_said(tmp_path):
    path = tmp_path / "staging.yaml"
    path.write_bytes(b"region: \xff\xfe")
    with pytest.raises(ConfigError, match="is no UTF-8 text"):
        config.load(path)


@pytest.mark.parametrize(
    "name",
    [
        "Staging-2.yaml",
        "awsome.yaml",
        "sg.yaml",
        "x_.yaml",
        "a" * 33 + ".yaml",
        "a.yml",
        "access.yaml",
        "network.yaml",
    ],
)
def test_a_file_name_that_is_no_environment_name_is_refused(tmp_path, name):
    with pytest.raises(ConfigError, match="rename"):
        config.load(write(tmp_path, GOOD, name))


def test_where_packer_builds_reaches_its_variables(tmp_path):
    build = "build: {subnet_id: subnet-0a, ssh_source_cidrs: [10.1.0.0/16]}"
    environment = config.load(write(tmp_path, GOOD + build))
    assert environment.build.packer_variables() == {
        "subnet_id": "subnet-0a",
        "temporary_security_group_source_cidrs": ["10.1.0.0/16"],
    }


def test_a_gate(tmp_path):
    gate = "    gate: {soak: 2m, alarms: [web-5xx], insufficient_data: ok, http: {path: '/a?b=c', timeout: 2s}}\n"
    path = write(tmp_path, GOOD.replace("    drain:", gate + "    drain:"))
    web = config.load(path).fleets["web"]
    assert web.gate.asks
    assert web.gate.soak == timedelta(minutes=2)
    assert web.gate.http is not None
    assert (web.gate.http.path, web.gate.http.status, web.gate.http.consecutive) == ("/a?b=c", 200, 10)
    jsonschema.validate(yaml.safe_load(path.read_text()), yaml.safe_load(schema.schema_text()))
    assert not config.load(write(tmp_path, GOOD)).fleets["web"].gate.asks


def test_one_bad_file_leaves_the_others(tmp_path):
    write(tmp_path, GOOD)
    bad = write(tmp_path, GOOD.replace("region:", "regoin:"), "broken.yaml")
    environments, errors = config.load_all(tmp_path)
    assert sorted(environments) == ["staging"]
    assert sorted(errors) == [bad]


def test_every_mistake_of_a_file_is_told_at_once(tmp_path):
    path = write(tmp_path, GOOD.replace("region:", "regoin:").replace("timeout: 5m", "timeout: 5"))
    with pytest.raises(ConfigError) as error:
        config.load(path)
    assert len(str(error.value).splitlines()) == 3


def test_no_fault_is_told_in_the_words_of_the_validator(tmp_path):
    """Every key with a value of every wrong kind: what comes of it is ours."""
    schema_of_all = json.loads(schema.schema_text())
    keys = {key for node in [schema_of_all, *schema_of_all["$defs"].values()] for key in node["properties"]}
    said = []
    for value in (
        None,
        True,
        5,
        -1,
        1.5,
        "",
        "a b\n",
        "x" * 300,
        [],
        [None],
        {},
        {"a b": 1},
        date(2026, 1, 1),
    ):
        for part in (config.Environment, config.Fleet, HttpCheck, Gate, config.Build, config.Drain):
            content = dict.fromkeys(part.model_fields, value)
            try:
                part.model_validate(content)
            except ValidationError as error:
                said += [config_faults.sentence(part, fault) for fault in error.errors(include_url=False)]
    assert len(said) > 200
    assert {line.partition(":")[0].split(".")[0] for line in said} <= keys
    for line in said:
        assert "; expected " in line or ": is missing; add it: expected " in line, line
        assert "input should" not in line.lower()
