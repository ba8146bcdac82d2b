"""Settings come from the environment, the environment file is read, taken ports are named."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from demo import airflow
from demo.settings import DemoError, Settings, environment, require_free


def test_ports_and_folder_can_be_chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BAKEROLL_BUILD", str(tmp_path))
    monkeypatch.setenv("BAKEROLL_SANDBOX_PORT", "20001")
    monkeypatch.setenv("BAKEROLL_AIRFLOW_PORT", "20002")
    settings = Settings.from_environment()
    assert settings.endpoint_url == "http://127.0.0.1:20001"
    assert settings.airflow_url == "http://127.0.0.1:20002"
    assert settings.airflow_home == tmp_path / "airflow"


@pytest.mark.parametrize("value", ["http", "0", "65536", "-1"])
def test_a_bad_port_is_named(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("BAKEROLL_AIRFLOW_PORT", value)
    with pytest.raises(DemoError, match=f"BAKEROLL_AIRFLOW_PORT is '{value}', expected a port number"):
        Settings.from_environment()


def test_every_taken_port_is_named_with_what_it_is_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        ports = {"the UI": one.getsockname()[1], "the API": two.getsockname()[1]}
        with pytest.raises(DemoError) as refusal:
            require_free(ports)
    for purpose, port in ports.items():
        assert f"127.0.0.1:{port} is taken by another program ({purpose})" in str(refusal.value)
    require_free(ports)


def test_the_demo_serves_what_the_environment_file_asks_for() -> None:
    facts = environment()
    assert facts.repository_host == "127.0.0.1"
    assert facts.repository_name
    assert facts.state_bucket


def test_nothing_in_airflows_environment_leads_to_a_real_account(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "production")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "real")
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "of another Airflow")
    variables = airflow.environment(Settings(tmp_path, 20001, 20002))
    assert "real" not in variables.values()
    assert "AWS_PROFILE" not in variables
    assert "AIRFLOW__CORE__FERNET_KEY" not in variables
    assert '"endpoint_url": "http://127.0.0.1:20001"' in variables["AIRFLOW_CONN_AWS_DEFAULT"]
    assert len(variables["AIRFLOW__API_AUTH__JWT_SECRET"]) == 64
    other = airflow.environment(Settings(tmp_path, 20001, 20002))
    assert other["AIRFLOW__API_AUTH__JWT_SECRET"] != variables["AIRFLOW__API_AUTH__JWT_SECRET"]
