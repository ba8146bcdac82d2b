"""Every secret is generated, once, for its readers alone."""

from __future__ import annotations

import base64
import json
import os
import stat
from pathlib import Path

import pytest

from compose import make_secrets
from compose.make_secrets import RENEWABLE, SecretsError, Settings, make

OURS = (os.geteuid(), os.getegid())


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    owners = dict.fromkeys(make_secrets.OWNERS, OURS)
    return Settings(tmp_path / "secrets", owners, "postgres:5432", "redis:6379")


def contents(settings: Settings) -> dict[str, str]:
    files = (file for file in settings.folder.rglob("*") if file.is_file())
    return {str(file.relative_to(settings.folder)): file.read_text() for file in files}


def test_all_are_made_and_stay(settings: Settings) -> None:
    written = make(settings)
    before = contents(settings)
    assert sorted(written) == sorted(before)
    assert make(settings) == []
    assert contents(settings) == before


def test_no_two_deployments_share_one(settings: Settings, tmp_path: Path) -> None:
    make(settings)
    other = Settings(tmp_path / "other", settings.owners, settings.postgres, settings.redis)
    make(other)
    assert not set(contents(settings).values()) & set(contents(other).values())


def test_only_their_readers_may_read_them(settings: Settings) -> None:
    make(settings)
    for path in settings.folder.rglob("*"):
        expected = 0o700 if path.is_dir() else 0o600
        assert stat.S_IMODE(path.stat().st_mode) == expected, path


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_they_belong_to_their_readers(settings: Settings) -> None:
    owners = {"POSTGRES": (1001, 1002), "REDIS": (1003, 1004), "AIRFLOW": (1005, 1006)}
    make(Settings(settings.folder, owners, settings.postgres, settings.redis))
    for folder, owner in {"postgres": (1001, 1002), "redis": (1003, 1004), "server": (1005, 1006)}.items():
        for path in [settings.folder / folder, *(settings.folder / folder).iterdir()]:
            assert (path.stat().st_uid, path.stat().st_gid) == owner


def test_addresses_and_passwords_agree(settings: Settings) -> None:
    make(settings)
    found = contents(settings)
    assert found["server/database_url"] == (
        f"postgresql+psycopg://airflow:{found['postgres/password']}@postgres:5432/airflow"
    )
    redis = found["redis/redis.conf"].removeprefix("requirepass ").strip()
    assert found["broker/broker_url"] == f"redis://:{redis}@redis:6379/0"
    assert found["broker/result_backend"] == f"redis://:{redis}@redis:6379/1"
    assert len(found["server/jwt_secret"]) == 64  # RFC 7518: no shorter than the digest of HS512
    assert len(base64.urlsafe_b64decode(found["server/fernet_key"])) == 32
    assert len(json.loads(found["login/passwords.json"])["admin"]) == 32


def test_what_a_killed_run_left_is_finished(settings: Settings) -> None:
    make(settings)
    before = contents(settings)
    (settings.folder / "server/database_url").unlink()
    (settings.folder / "server/.database_url.new").write_text("half")
    assert make(settings) == ["server/database_url"]
    assert contents(settings) == before


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("admin", {"login/passwords.json"}),
        ("api", {"server/api_secret_key"}),
        ("fernet", {"server/fernet_key"}),
        ("jwt", {"server/jwt_secret"}),
        ("postgres", {"postgres/password", "server/database_url"}),
        (
            "redis",
            {"broker/redis_password", "broker/broker_url", "broker/result_backend", "redis/redis.conf"},
        ),
    ],
)
def test_one_is_renewed_and_no_other(settings: Settings, name: str, changed: set[str]) -> None:
    assert name in RENEWABLE
    make(settings)
    before = contents(settings)
    assert set(make(settings, [name])) == changed
    after = contents(settings)
    assert {file for file in after if after[file] != before[file]} == changed


def test_old_fernet_keys_still_decrypt(settings: Settings) -> None:
    from cryptography.fernet import Fernet, MultiFernet

    file = settings.folder / "server/fernet_key"
    make(settings)
    sealed = Fernet(file.read_text()).encrypt(b"connection")
    make(settings, ["fernet"])
    keys = [Fernet(key) for key in file.read_text().split(",")]
    assert len(keys) == 2
    assert MultiFernet(keys).decrypt(sealed) == b"connection"


def test_passwords_of_other_people_stay(settings: Settings) -> None:
    make(settings)
    file = settings.folder / "login/passwords.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "ada": "hers"}))
    make(settings, ["admin"])
    assert json.loads(file.read_text())["ada"] == "hers"


def test_a_broken_password_file_is_named(settings: Settings) -> None:
    make(settings)
    (settings.folder / "login/passwords.json").write_text("{")
    with pytest.raises(SecretsError, match=r"passwords\.json is not a JSON object"):
        make(settings)


def test_the_command_says_what_it_did_and_no_secret(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    environment = {
        "SECRETS_FOLDER": str(settings.folder),
        "POSTGRES_ADDRESS": settings.postgres,
        "REDIS_ADDRESS": settings.redis,
        **{f"{owner}_OWNER": "{}:{}".format(*OURS) for owner in make_secrets.OWNERS},
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert make_secrets.main([]) == 0
    assert make_secrets.main([]) == 0
    said = capsys.readouterr()
    assert said.out.endswith("secrets: all there\n")
    assert not any(value.strip() in said.out + said.err for value in contents(settings).values())
    monkeypatch.setenv("REDIS_OWNER", "redis")
    assert make_secrets.main([]) == 1
    assert "REDIS_OWNER is 'redis', expected <user id>:<group id>" in capsys.readouterr().err
    monkeypatch.delenv("REDIS_OWNER")
    assert make_secrets.main([]) == 1
    assert "not set: REDIS_OWNER" in capsys.readouterr().err
