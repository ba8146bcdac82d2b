"""The runner's translation: the Compose file's own words, with this machine's addresses and folders."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from demo import compose_file, containers, natively, services
from demo.compose_file import Service
from demo.natively import Machine, Native
from demo.settings import ROOT, DemoError, Settings

PORTS = {"postgres": 15432, "redis": 16379, "api-server": 18080}
VARIABLES = {
    "COMPOSE_PROFILES": "sandbox",
    "BAKEROLL_AIRFLOW_PORT": "18080",
    "BAKEROLL_SANDBOX_PORT": "14566",
}


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setattr(natively, "owner", lambda user: f"1:{len(user or '')}")
    settings = Settings(tmp_path / "build", 14566, 18080)
    return containers.machine(settings, tmp_path / "shared", PORTS)


@pytest.fixture
def natives(machine: Machine) -> dict[str, Native]:
    declared = compose_file.load(containers.FILE, containers.PROFILE, VARIABLES)
    return {name: machine.translate(each) for name, each in declared.items()}


def test_every_service_of_the_profile_can_run_here(natives: dict[str, Native]) -> None:
    assert {"init", "postgres", "redis", "migrate", "worker-sandbox", "sandbox"} <= natives.keys()
    words = [
        word
        for each in natives.values()
        for word in (*each.command, *each.health, *each.environment.values())
    ]
    assert not [word for word in words if "0.0.0.0" in word or "/opt/bakeroll" in word]


def test_everything_listens_on_loopback(natives: dict[str, Native]) -> None:
    api = natives["api-server"].command
    assert api[api.index("--host") + 1] == "127.0.0.1"
    assert api[api.index("--port") + 1] == "18080"
    redis = natives["redis"].command
    assert redis[redis.index("--bind") + 1] == "127.0.0.1"
    assert redis[redis.index("--port") + 1] == "16379"


def test_addresses_and_folders_are_those_of_this_machine(
    natives: dict[str, Native], machine: Machine
) -> None:
    init = natives["init"].environment
    assert init["POSTGRES_ADDRESS"] == "127.0.0.1:15432"
    assert init["SECRETS_FOLDER"] == str(machine.secrets)
    assert init["POSTGRES_OWNER"] == "1:8"
    worker = natives["worker-sandbox"]
    assert (
        worker.environment["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] == "http://127.0.0.1:18080/execution/"
    )
    assert worker.environment["AIRFLOW__CORE__DAGS_FOLDER"] == str(ROOT / "dags")
    assert worker.environment["AIRFLOW__CELERY__BROKER_URL_CMD"] == f"cat {machine.secrets}/broker/broker_url"
    assert '"endpoint_url": "http://127.0.0.1:14566"' in worker.environment["AIRFLOW_CONN_AWS_DEFAULT"]
    assert natives["sandbox"].environment["PYTHONPATH"] == f"{ROOT}/plugins:{ROOT}"
    assert f"--port={PORTS['postgres']}" in natives["postgres"].health


def test_the_commands_are_the_files_own(natives: dict[str, Native]) -> None:
    assert natives["scheduler"].command == ("airflow", "scheduler", "--skip-serve-logs")
    assert natives["worker-sandbox"].command == ("airflow", "celery", "worker", "--skip-serve-logs")
    assert natives["sandbox"].command == ("python", "-m", "demo", "account")


def test_databases_run_as_users_of_their_own(natives: dict[str, Native]) -> None:
    assert {name: each.user for name, each in natives.items() if each.user} == {
        "postgres": "postgres",
        "redis": "redis",
    }
    command = natively.as_user("redis", ("redis-server", "x"))
    assert command[0] == "setpriv"
    assert command[-2:] == ["redis-server", "x"]


@pytest.mark.parametrize(
    "word", ["/opt/other", "/run/bakeroll-not/x", "http://sandbox:4566", "/var/lib/postgresql/other"]
)
def test_a_word_that_has_no_meaning_here_is_an_error(machine: Machine, word: str) -> None:
    service = Service(
        name="any",
        image="any:1",
        command=("any", word),
        environment={},
        user="50000:50000",
        mounts={},
        needs={},
        health=(),
        runs_on=True,
    )
    with pytest.raises(DemoError, match="has no meaning outside a container"):
        machine.translate(service)
    assert machine.translate(replace(service, command=("any", "/usr/bin/x"))).command == ("any", "/usr/bin/x")


def test_a_folder_of_somebody_else_is_not_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(containers, "SHARED", tmp_path)
    settings = Settings(tmp_path / "build", 1, 2)
    folder = containers.shared_folder(settings)
    containers.remove_shared_folder(settings)  # nothing there: nothing to do
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    folder.symlink_to(elsewhere)
    with pytest.raises(DemoError, match="is not ours"):
        containers.remove_shared_folder(settings)
    assert elsewhere.is_dir()
    folder.unlink()
    folder.mkdir()
    (folder / "file").touch()
    containers.remove_shared_folder(settings)
    assert not folder.exists()


def test_services_start_in_the_order_that_they_ask_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With programs that only note that they ran: completion and health are waited for."""
    order = tmp_path / "order"
    note = f"import sys; open({str(order)!r}, 'a').write(sys.argv[1] + ' ')"
    programs = {
        "NOTE": note,
        "STAY": f"{note}; import time; time.sleep(600)",
        "LOOK": f"import sys; sys.exit('two' not in open({str(order)!r}).read())",
    }
    text = _THREE_SERVICES
    for name, program in programs.items():
        text = text.replace(name, json.dumps(program))
    file = tmp_path / "docker-compose.yaml"
    file.write_text(text)
    monkeypatch.setattr(containers, "FILE", file)
    monkeypatch.setattr(containers, "SHARED", tmp_path)
    monkeypatch.setattr(containers, "HEALTH_SECONDS", 0.0)
    monkeypatch.setattr(natively, "USERS", {})
    settings = Settings(tmp_path / "build", 14566, 18080)
    said: list[str] = []
    path = str(Path(sys.executable).parent)
    running = containers.Containers(settings, PORTS, {"PATH": f"{path}:/usr/bin:/bin"}, said.append)
    try:
        running.start()
        assert order.read_text().split() == ["one", "two", "three"]
        assert said == ["starting first", "starting second", "second is healthy", "starting third"]
        assert set(services.running(settings.build).values()) == {"second"}
    finally:
        services.stop(settings.build)
    assert services.running(settings.build) == {}


def test_a_service_that_fails_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "docker-compose.yaml"
    failing = json.dumps("raise SystemExit('no room')")
    file.write_text(_THREE_SERVICES.replace("NOTE", failing).replace("STAY", "''").replace("LOOK", "''"))
    monkeypatch.setattr(containers, "FILE", file)
    monkeypatch.setattr(containers, "SHARED", tmp_path)
    monkeypatch.setattr(natively, "USERS", {})  # of packages that only `make celery` needs
    path = str(Path(sys.executable).parent)
    running = containers.Containers(
        Settings(tmp_path / "build", 1, 2), PORTS, {"PATH": f"{path}:/usr/bin:/bin"}, print
    )
    with pytest.raises(DemoError, match=r"(?s)first ended with status 1.*no room"):
        running.start()


_THREE_SERVICES = """
services:
  third:
    image: x:1
    command: [python, -c, NOTE, three]
    user: "0:0"
    restart: "no"
    depends_on:
      second: {condition: service_healthy}
  second:
    image: x:1
    command: [python, -c, STAY, two]
    user: "0:0"
    restart: unless-stopped
    healthcheck:
      test: [CMD, python, -c, LOOK]
    depends_on:
      first: {condition: service_completed_successfully}
  first:
    image: x:1
    command: [python, -c, NOTE, one]
    user: "0:0"
    restart: "no"
"""
