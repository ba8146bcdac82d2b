"""docker-compose.yaml: its form, what it exposes, and that no secret has a default."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from demo import compose_file, containers
from demo.settings import ACCESS_KEY, ROOT, VAULT_PASSWORD, DemoError
from tools import check

FILE = ROOT / "docker-compose.yaml"
PROFILES = ("account", "sandbox")
PROGRAMS = Path(sys.executable).parent
SCHEMA = [str(PROGRAMS / "check-jsonschema"), "--builtin-schema", "vendor.compose-spec"]
LINTER = str(PROGRAMS / "hadolint")
VARIABLES = {"COMPOSE_PROFILES": "account"}
#: How a sensitive option is set.
FILES = re.compile(r"^cat /run/bakeroll/(server|broker)/[a-z_]+$")


def document() -> dict[str, Any]:
    return dict(compose_file.interpolate(yaml.safe_load(FILE.read_text()), VARIABLES))


def services() -> dict[str, dict[str, Any]]:
    return dict(document()["services"])


def test_it_has_the_form_of_the_compose_specification() -> None:
    assert check.run([*SCHEMA, str(FILE)]) == ""


def test_the_schema_refuses_what_is_not_compose(tmp_path: Path) -> None:
    wrong = tmp_path / "docker-compose.yaml"
    wrong.write_text(FILE.read_text().replace("    healthcheck:\n", "    healthchecks:\n", 1))
    assert "healthchecks" in check.run([*SCHEMA, str(wrong)])


def test_the_linter_passes_the_dockerfile_and_would_refuse_another(tmp_path: Path) -> None:
    assert check.run([LINTER, str(ROOT / "Dockerfile")]) == ""
    wrong = tmp_path / "Dockerfile"
    wrong.write_text("FROM python:latest\nRUN sudo true\n")
    problem = check.run([LINTER, str(wrong)])
    assert "DL3007" in problem
    assert "DL3004" in problem


@pytest.mark.parametrize("profile", PROFILES)
def test_each_profile_has_all_of_airflow_once(profile: str) -> None:
    commands = [
        service.command[1:3]
        for service in compose_file.load(FILE, profile, VARIABLES).values()
        if service.command[0] == "airflow"
    ]
    parts = sorted(command[0] for command in commands)
    assert parts == ["api-server", "celery", "dag-processor", "db", "scheduler", "triggerer"]


def test_without_a_chosen_profile_nothing_starts() -> None:
    with pytest.raises(DemoError, match="set COMPOSE_PROFILES to account or sandbox"):
        compose_file.load(FILE, "account", {})


def test_the_example_settings_choose_a_profile_and_hold_no_secret() -> None:
    lines = [line for line in (ROOT / ".env.example").read_text().splitlines() if line and line[0] != "#"]
    settings = dict(line.split("=", 1) for line in lines)
    assert settings.pop("COMPOSE_PROFILES") in PROFILES
    assert all(
        re.fullmatch(r"BAKEROLL_[A-Z_]+", name) and value.isdecimal() for name, value in settings.items()
    )


def test_ports_are_open_to_this_machine_only() -> None:
    ports = [port for service in services().values() for port in service.get("ports", [])]
    assert ports == ["127.0.0.1:8080:8080"]


def test_only_the_sandbox_is_privileged_and_only_it_and_init_are_root() -> None:
    assert [name for name, each in services().items() if each.get("privileged")] == ["sandbox"]
    assert {name for name, each in services().items() if each["user"].startswith("0")} == {"init", "sandbox"}
    for name, service in services().items():
        if name != "sandbox":
            assert service["cap_drop"] == ["ALL"], name
            assert service["security_opt"] == ["no-new-privileges:true"], name


def test_images_have_exact_tags() -> None:
    for service in services().values():
        assert re.fullmatch(r"[a-z-]+:\d+\.\d+(\.\d+)?(-[a-z]+)?", service["image"]), service["image"]
    tags = re.findall(r"^ARG PYTHON_IMAGE=(.*)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert tags == [document()["x-image"]["build"]["args"]["PYTHON_IMAGE"]]


def test_no_secret_has_a_default() -> None:
    """What Airflow calls sensitive comes out of a file; the sandbox's values open nothing else."""
    from airflow.configuration import conf

    sensitive = {f"AIRFLOW__{section}__{key}".upper() for section, key in conf.sensitive_config_values}
    found = set()
    for name, service in services().items():
        for key, value in service.get("environment", {}).items():
            where = f"{name}: {key}"
            assert key not in sensitive, f"{where} is in the open"
            if key.removesuffix("_CMD") in sensitive:
                assert FILES.match(value), where
                found.add(key.removesuffix("_CMD"))
            elif re.search(r"PASSWORD|SECRET|TOKEN|_KEY", key):
                assert value.startswith("/run/bakeroll"), where
            elif key.startswith("AIRFLOW_CONN"):
                opened = json.loads(value)
                assert name.endswith("-sandbox"), where
                assert opened["password"] in {ACCESS_KEY, VAULT_PASSWORD}, where
    assert {
        "AIRFLOW__CORE__FERNET_KEY",
        "AIRFLOW__API__SECRET_KEY",
        "AIRFLOW__API_AUTH__JWT_SECRET",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN",
        "AIRFLOW__CELERY__BROKER_URL",
        "AIRFLOW__CELERY__RESULT_BACKEND",
    } <= found


def test_what_playbooks_run_beside_has_no_key_of_airflow() -> None:
    for name in ("worker", "worker-sandbox"):
        mounted = {each.split(":")[1] for each in services()[name]["volumes"]}
        assert {each for each in mounted if each.startswith("/run/")} == {"/run/bakeroll/broker"}


def test_only_init_may_write_secrets() -> None:
    for name, service in services().items():
        for volume in service.get("volumes", []):
            if volume.startswith("secrets-") and name != "init" and "/login" not in volume:
                assert volume.endswith(":ro"), f"{name}: {volume}"


def test_what_talks_to_machines_shares_the_sandboxes_network() -> None:
    """Machines have loopback addresses: Packer's SSH and the steps in the triggerer have to reach them."""
    for name in ("worker-sandbox", "triggerer-sandbox"):
        assert services()[name]["network_mode"] == "service:sandbox"
        assert containers.PROFILE in services()[name]["profiles"]


def test_every_service_is_limited_in_its_logs_and_lasting_ones_are_watched() -> None:
    for name, service in services().items():
        assert service["logging"]["options"]["max-size"] == "10m", name
        if service["restart"] != "no":
            assert service["healthcheck"]["test"], name
            assert service["stop_grace_period"], name


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${A}", "1"),
        ("${A:-2}", "1"),
        ("${EMPTY:-2}", "2"),
        ("${MISSING:-}", ""),
        ("$${A}", "${A}"),
        ("x${A}y${MISSING:-z}", "x1yz"),
    ],
)
def test_variables_are_put_in_as_compose_does(text: str, expected: str) -> None:
    assert compose_file.interpolate({"key": [text]}, {"A": "1", "EMPTY": ""}) == {"key": [expected]}


@pytest.mark.parametrize("text", ["$A", "${a}", "cost: $"])
def test_a_form_that_is_not_known_is_an_error(text: str) -> None:
    with pytest.raises(DemoError, match="is no variable"):
        compose_file.interpolate(text, {})
