"""What the hook gives to tools is a secret to Airflow's logs."""

from __future__ import annotations

import json

import pytest
from airflow.sdk.log import mask_logs

from bakeroll.core.config import Environment
from bakeroll.core.errors import ConfigError
from bakeroll.hooks.account import AccountHook

FACTS = {
    "region": "ap-northeast-1",
    "account_id": "123456789012",
    "state_bucket": "example-bakeroll",
    "source_ami": {"owners": ["136693071363"], "name": "debian-*"},
    "application": {"repository": "https://git.example.com/web.git"},
    "terraform": {"root": "terraform/environments/production"},
    "fleets": {"web": {}},
    "aws_conn_id": "aws_of_this_test",
    "vault_conn_id": "vault_of_this_test",
}
PASSWORD = "correct horse battery staple"
SECRET_KEY = "wJalrXUtnFEMIK7MDENGbPxRfiCY1Hn5XqT2"
TOKEN = "FwoGZXIvYXdzEBYaDHnotareal1token"


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> AccountHook:
    aws = {
        "conn_type": "aws",
        "login": "AKIAEXAMPLE",
        "password": SECRET_KEY,
        "extra": {"aws_session_token": TOKEN, "endpoint_url": "http://127.0.0.1:1"},
    }
    monkeypatch.setenv("AIRFLOW_CONN_AWS_OF_THIS_TEST", json.dumps(aws))
    vault = {"conn_type": "generic", "password": PASSWORD}
    monkeypatch.setenv("AIRFLOW_CONN_VAULT_OF_THIS_TEST", json.dumps(vault))
    return AccountHook(Environment.model_validate(FACTS))


def logged(line: str) -> str:
    """Give a line as Airflow's task log shows it."""
    return str(mask_logs(None, "info", {"event": line})["event"])


def test_the_vault_password_is_masked(hook: AccountHook) -> None:
    assert hook.vault_password() == PASSWORD
    assert logged(f"fatal: the password is {PASSWORD}!") == "fatal: the password is ***!"


def test_credentials_of_tools_are_masked(hook: AccountHook) -> None:
    variables = hook.tool_variables()
    assert variables["AWS_SECRET_ACCESS_KEY"] == SECRET_KEY
    assert variables["AWS_SESSION_TOKEN"] == TOKEN
    assert logged(f"key {SECRET_KEY} token {TOKEN}") == "key *** token ***"
    assert logged("region ap-northeast-1") == "region ap-northeast-1"


def test_masking_is_the_hooks_own(hook: AccountHook, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the hook hands out is masked, whatever Airflow and its Amazon provider mask by themselves."""
    masked: list[str] = []
    monkeypatch.setattr("bakeroll.hooks.account.mask_secret", masked.append)
    hook.vault_password()
    hook.tool_variables()
    assert masked == [PASSWORD, SECRET_KEY, TOKEN]


def test_a_connection_without_password_is_named(hook: AccountHook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_VAULT_OF_THIS_TEST", json.dumps({"conn_type": "generic"}))
    with pytest.raises(ConfigError, match="vault_of_this_test has no password"):
        hook.vault_password()
