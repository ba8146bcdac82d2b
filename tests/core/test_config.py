# ruff: noqa: E501  the table of mistakes is read by its rows
"""Environment files: what is right loads, and each kind of mistake is one line that says all."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from bakeroll.core import config, schema
from bakeroll.core.config_types import DURATION
from bakeroll.core.errors import ConfigError

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
        ("    drain:", "    gate: {alarms: ['']}\n    drain:", "fleets.web.gate.alarms.0: found ''; string should have at least 1 character"),
        ("    drain:", "    gate: {alarms: [a], insufficient_data: alarm}\n    drain:", "fleets.web.gate.insufficient_data: found 'alarm'; input should be 'ok', 'wait' or 'fail'"),
        ("    drain:", "    gate: {http: {paht: /}}\n    drain:", "fleets.web.gate.http.paht: unknown key (value '/'); expected one of body, consecutive, headers, host, path, status, timeout, url, wrong_answers"),
        ("    drain:", "    gate: {http: {path: orders}}\n    drain:", "fleets.web.gate.http.path: found 'orders'; string should match pattern"),
        ("    drain:", '    gate: {http: {path: "/ HTTP/1.0"}}\n    drain:', "fleets.web.gate.http.path: found '/ HTTP/1.0'; string should match pattern"),
        ("    drain:", '    gate: {http: {path: "/\\n"}}\n    drain:', r"fleets.web.gate.http.path: found '/\n'; string should match pattern"),
        ("    drain:", '    gate: {http: {host: "a\\n"}}\n    drain:', r"fleets.web.gate.http.host: found 'a\n'; string should match pattern"),
        ("    drain:", "    gate: {http: {url: 'ftp://example.com'}}\n    drain:", "fleets.web.gate.http.url: found 'ftp://example.com'; expected http:// or https://, a host"),
        ("    drain:", "    gate: {http: {url: 'https://example.com/a'}}\n    drain:", "fleets.web.gate.http.url: found 'https://example.com/a'; expected no path here; write it as `path`"),
        ("    drain:", "    gate: {http: {url: 'https://example.com:99999'}}\n    drain:", "fleets.web.gate.http.url: found 'https://example.com:99999'; expected a port from 1 to 65535"),
        ("    drain:", "    gate: {http: {url: 'http://[::1'}}\n    drain:", "fleets.web.gate.http.url: found 'http://[::1'; expected http:// or https://, a host"),
        ("    drain:", "    gate: {http: {status: 999}}\n    drain:", "fleets.web.gate.http.status: found 999; input should be less than or equal to 599"),
        ("    drain:", "    gate: {http: {timeout: 2m}}\n    drain:", "fleets.web.gate.http.timeout: found '2m'; expected at most 30s"),
        ("    drain:", "    gate: {http: {timeout: 0s}}\n    drain:", "fleets.web.gate.http.timeout: found '0s'; expected more than 0s"),
        ("    drain:", "    gate: {http: {consecutive: 0}}\n    drain:", "fleets.web.gate.http.consecutive: found 0; input should be greater than or equal to 1"),
        ("  ref: main", "  branch: main", "application.branch: unknown key (value 'main'); expected one of ref, repository"),
        ("timeout: 5m", "timeout: fast", "fleets.web.drain.timeout: found 'fast'; expected a whole number and a unit, such as 30s, 15m or 2h"),
        ("timeout: 5m", "timeout: 99999999999999h", "fleets.web.drain.timeout: found '99999999999999h'; expected at most 48h"),
        ("timeout: 5m", "timeout: 0s", "fleets.web.drain.timeout: found '0s'; expected more than 0s"),
        ('"123456789012"', "123456789012", "account_id: found 123456789012; input should be a valid string"),
        ("region: ap-northeast-1", "region: tokyo", "region: found 'tokyo'; string should match pattern"),
        ("terraform:", "build: {ssh_source_cidrs: [0.0.0.0/0]}\nterraform:", "build.ssh_source_cidrs.0: found '0.0.0.0/0'; expected a network, not everybody"),
        ("terraform:", "build: {subnet: subnet-1}\nterraform:", "build.subnet: unknown key (value 'subnet-1'); expected one of ssh_interface, ssh_source_cidrs, subnet_id, vpc_id"),
        ("  web:", "  web:\n    waves: 100%", "fleets.web.waves: found '100%'; input should be a valid list"),
        ("  web:", "  web:\n    pause_after: [1]", "fleets.web.pause_after: found [1]; expected numbers of waves that another one follows; there are 1"),
        ("  web:", "  web:\n    pause_after: [0]", "fleets.web.pause_after.0: found 0; input should be greater than or equal to 1"),
        ("  web:", "  web:\n    waves: []", "fleets.web.waves: found []; list should have at least 1 item"),
        ("  web:", "  web:\n    waves: [0, 100%]", "fleets.web.waves.0: found 0; expected a number of instances, 1 or more, or a percentage such as"),
        ("  web:", "  web:\n    waves: [true, 100%]", "fleets.web.waves.0: found True; expected a number of instances, 1 or more, or a percentage such as"),
        ("  web:", "  web:\n    waves: [101%]", "fleets.web.waves.0: found '101%'; expected a number of instances, 1 or more, or a percentage such as"),
        ("  web:", "  web:\n    waves: [1, 50%]", "fleets.web.waves: found [1, '50%']; expected \"100%\" as the last wave"),
        ("  web:", "  web:\n    waves: [50%, 25%, 100%]", "fleets.web.waves: found ['50%', '25%', '100%']; expected rising waves"),
        ("  web:", "  web:\n    waves: [50%, 3, 100%]", "fleets.web.waves: found ['50%', 3, '100%']; expected rising waves: numbers of instances first, then percentages"),
        ("  web:", "  web:\n    waves: [1,2,3,4,5,6,7,8,9,10,100%]", "fleets.web.waves: found [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, '100%']; list should have at most 10 items"),
        ("state_bucket: ", "# ", "state_bucket: is missing; add it"),
        ("region:", "schedule: '61 * * * *'\nregion:", "schedule: found '61 * * * *'; expected a cron expression"),
        ("  web:", "  Web:", "fleets.Web: found 'Web'; string should match pattern"),
        ("[web.service]", '["a; rm -rf /"]', "fleets.web.drain.stop_units.0: found 'a; rm -rf /'; string should match"),
        ("root: terraform", "binary: pulumi\n  root: terraform", "terraform.binary: found 'pulumi'; input should be 'terraform' or 'tofu'"),
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
    ("text", "said"),
    [
        ("", "expected keys and values, found None"),
        ("- a\n", "expected keys and values, found ['a']"),
        ("region: [", ":1: expected the node content"),
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
    "name", ["Staging-2.yaml", "awsome.yaml", "sg.yaml", "x_.yaml", "a" * 33 + ".yaml", "a.yml"]
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
