"""Airflow connections as what opens git repositories."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bakeroll.core.config import Environment
from bakeroll.core.errors import ConfigError
from bakeroll.hooks.git_access import GitAccessHook


def environment(**connections: str) -> Environment:
    facts: dict[str, Any] = {
        "region": "ap-northeast-1", "account_id": "123456789012", "state_bucket": "example-bakeroll",
        "source_ami": {"owners": ["136693071363"], "name": "debian-*"},
        "application": {"repository": "https://git.example.com/web.git"},
        "git": {"connections": {host.replace("_", "."): name for host, name in connections.items()}},
        "terraform": {"root": "x"}, "fleets": {"web": {}},
    }  # fmt: skip
    return Environment.model_validate(facts)


def define(monkeypatch: pytest.MonkeyPatch, name: str, extra: dict[str, Any], **fields: str) -> None:
    value = {"conn_type": "git", **fields, "extra": extra}
    monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(value))


def refused(extra: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> str:
    define(monkeypatch, "git_a", extra, password="hunter2")
    with pytest.raises(ConfigError) as caught:
        GitAccessHook(environment(git_example_com="git_a")).get_conn()
    assert "hunter2" not in str(caught.value)
    return str(caught.value)


def test_connections_become_accesses(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    key = tmp_path / "key"
    key.write_text("the key\n")
    define(monkeypatch, "git_a", {"ca_certificate": "the authority"}, login="me", password="hunter2")
    define(monkeypatch, "git_b", {"key_file": str(key), "known_hosts": "b ssh-ed25519 AAAA"})
    hook = GitAccessHook(environment(git_example_com="git_a", ssh_example_com="git_b"))
    masked: list[str] = []
    monkeypatch.setattr("bakeroll.hooks.git_access.mask_secret", masked.append)
    by_token, by_key = hook.get_conn()
    assert (by_token.host, by_token.connection, by_token.login) == ("git.example.com", "git_a", "me")
    assert (by_token.token, by_token.certificates, by_token.private_key) == ("hunter2", "the authority", None)
    assert (by_key.token, by_key.private_key, by_key.login) == (None, "the key\n", "x-access-token")
    assert by_key.known_hosts == "b ssh-ed25519 AAAA"
    assert "hunter2" not in repr(by_token)
    assert masked == ["hunter2", "the key\n"]


def test_no_connections_are_no_accesses() -> None:
    assert GitAccessHook(environment()).get_conn() == ()


def test_what_cannot_be_used_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "strict_host_key_checking can only be yes" in refused(
        {"strict_host_key_checking": "no"}, monkeypatch
    )
    assert "a key with a passphrase" in refused({"private_key_passphrase": "x"}, monkeypatch)
    said = refused({"key_file": "/nowhere/key"}, monkeypatch)
    assert "key_file /nowhere/key cannot be read on this worker (FileNotFoundError)" in said


def test_a_missing_connection_is_named(airflow_database: None) -> None:
    with pytest.raises(
        ConfigError, match=r"connection git_none for git\.example\.com, under git\.connections"
    ):
        GitAccessHook(environment(git_example_com="git_none")).get_conn()
