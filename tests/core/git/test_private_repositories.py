"""Private repositories over HTTPS and SSH, from real servers; nothing of a credential is seen or left."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from bakeroll.core.errors import ConfigError, InputError, RepositoryError
from bakeroll.core.git import Access, Git, Source
from bakeroll.core.git.access import credentials
from bakeroll.core.process import Tool
from tests.git_servers import HttpsGit, Repository, SshGit, git_daemon, serving

TOKEN = secrets.token_hex(20)
PLUGINS = Path(__file__).parents[3] / "plugins"


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(tmp_path / "served/web.git")
    made.commit({"VERSION": "1\n", "run": "x"})
    return made


@pytest.fixture
def https(tmp_path: Path, repository: Repository) -> Iterator[HttpsGit]:
    server = HttpsGit(tmp_path / "served", tmp_path, TOKEN)
    with serving(server):
        yield server


@pytest.fixture
def ssh(tmp_path: Path, repository: Repository) -> Iterator[SshGit]:
    made = SshGit(tmp_path)
    with serving(made.server):
        yield made


@pytest.fixture
def by_token(https: HttpsGit) -> Access:
    return Access(https.host, "git_example", token=TOKEN, certificates=https.tls.authority)


@pytest.fixture
def by_key(ssh: SshGit) -> Access:
    return Access(ssh.host, "git_ssh", private_key=ssh.key, known_hosts=ssh.known_hosts)


def client(tmp_path: Path, *accesses: Access, **options: float) -> Git:
    # No test may fail because the machine is slow.
    return Git(accesses, worker_env=worker_env(tmp_path), **{"list_seconds": 300.0, **options})


def worker_env(tmp_path: Path) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "BAKEROLL_CACHE": str(tmp_path / "cache")}


def content(archive: Path) -> dict[str, bytes]:
    with tarfile.open(archive) as opened:
        files = [(member.name, opened.extractfile(member)) for member in opened]
        return {name: stream.read() for name, stream in files if stream}


def refused(git: Git, source: Source) -> str:
    with pytest.raises(InputError) as caught:
        git.commit(source)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_token_and_an_own_authority_open_a_repository(
    tmp_path: Path, temporary: Path, repository: Repository, https: HttpsGit, by_token: Access
) -> None:
    git, source = client(tmp_path, by_token), Source(https.url("web.git"), "main")
    commit = git.commit(source)
    assert commit == repository.git("rev-parse", "main")
    assert content(git.archive(source, commit)) == {"VERSION": b"1\n", "run": b"x"}
    assert https.logins == {"x-access-token"}
    before = len(https.requests)
    assert git.archive(source, commit).is_file()
    assert len(https.requests) == before, "a commit is fetched once"
    # The server looked while git was waiting for it.
    assert b"ls-remote" in https.seen
    assert b"git-remote-https" in https.seen or b"remote-https" in https.seen
    assert TOKEN.encode() not in https.seen
    assert list(temporary.iterdir()) == []


def test_a_key_opens_a_repository_over_ssh(
    tmp_path: Path, temporary: Path, repository: Repository, ssh: SshGit, by_key: Access
) -> None:
    first = repository.git("rev-parse", "main")
    repository.commit({"VERSION": "2\n"})
    git, source = client(tmp_path, by_key), Source(ssh.url(repository.path), "main")
    commit = git.commit(source)
    assert commit == repository.git("rev-parse", "main")
    assert content(git.archive(source, commit))["VERSION"] == b"2\n"
    # Over SSH this server speaks the old protocol, which gives no commit in the middle of a branch.
    assert content(git.archive(source, first))["VERSION"] == b"1\n"
    seen = ssh.seen.read_bytes()
    assert b"ls-remote" in seen
    assert b"ssh_config" in seen
    assert ssh.key.splitlines()[2].encode() not in seen
    assert list(temporary.iterdir()) == []
    with pytest.raises(InputError, match=f"has no commit {'a' * 40}; correct application.ref"):
        git.archive(source, "a" * 40)


def test_what_https_refuses_is_said_in_one_line(tmp_path: Path, https: HttpsGit, by_token: Access) -> None:
    source = Source(https.url("web.git"), "main")
    wrong = refused(client(tmp_path, replace(by_token, token="hunter2")), source)
    assert "refused what connection git_example holds; correct its login, password" in wrong
    assert "hunter2" not in wrong
    without = refused(client(tmp_path, replace(by_token, token=None)), source)
    assert "refused what connection git_example holds" in without
    nobody = refused(client(tmp_path, replace(by_token, host="git.example.com")), source)
    assert f"{https.host}" in nobody
    untrusted = refused(client(tmp_path, replace(by_token, certificates=None)), source)
    assert "nobody trusted vouches for the certificate" in untrusted
    assert "into connection git_example's extra as ca_certificate" in untrusted
    assert "does not exist, or may not be seen" in refused(
        client(tmp_path, by_token), Source(https.url("none.git"), "main")
    )


def test_what_ssh_refuses_is_said_in_one_line(
    tmp_path: Path, repository: Repository, ssh: SshGit, by_key: Access
) -> None:
    source = Source(ssh.url(repository.path), "main")
    assert "refused what connection git_ssh holds" in refused(
        client(tmp_path, replace(by_key, private_key=ssh.other_key)), source
    )
    by_hostname = replace(by_key, host="127.0.0.1", private_key=ssh.other_key)
    assert "refused what connection git_ssh holds" in refused(client(tmp_path, by_hostname), source)
    another = (
        f"{ssh.known_hosts.split()[0]} {' '.join(Path(tmp_path, 'other_key.pub').read_text().split()[:2])}"
    )
    said = refused(client(tmp_path, replace(by_key, known_hosts=another)), source)
    assert "the host key of" in said
    assert "add it to connection git_ssh's extra known_hosts" in said
    assert "does not exist, or may not be seen" in refused(
        client(tmp_path, by_key), Source(ssh.url(repository.path.with_name("none.git")), "main")
    )


def test_a_credential_is_for_its_host_alone(tmp_path: Path, https: HttpsGit, by_token: Access) -> None:
    elsewhere = replace(by_token, host="127.0.0.1:1", connection="other")
    only_trusted = replace(by_token, token=None)
    git = client(tmp_path, elsewhere, only_trusted)
    assert "refused what connection git_example holds" in refused(git, Source(https.url("web.git"), "main"))
    assert https.logins == set()


def test_public_repositories_need_nothing(tmp_path: Path, repository: Repository, by_token: Access) -> None:
    with serving(server := git_daemon(tmp_path / "served")):
        source = Source(f"git://{server.host}/web.git", "main")
        git = client(tmp_path, by_token)
        assert content(git.archive(source, git.commit(source)))["VERSION"] == b"1\n"


def test_two_workers_fetch_the_same_commit_at_once(tmp_path: Path, https: HttpsGit, by_token: Access) -> None:
    source = Source(https.url("web.git"), "main")
    commit = client(tmp_path, by_token).commit(source)
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda _: client(tmp_path, by_token).archive(source, commit), range(2)))
    assert found[0] == found[1]
    assert content(found[0])["VERSION"] == b"1\n"
    assert [path.name for path in found[0].parent.iterdir()] == [found[0].name]


def test_a_server_that_says_nothing_is_given_up(tmp_path: Path, temporary: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"git://127.0.0.1:{silent.getsockname()[1]}/web.git"
        with pytest.raises(RepositoryError, match=r"did not answer within 0\.5 s; is it reachable"):
            client(tmp_path, list_seconds=0.5).commit(Source(address, "main"))
    assert list(temporary.iterdir()) == []


def test_credentials_go_with_git_when_the_worker_is_killed(tmp_path: Path, temporary: Path) -> None:
    program = """
import os, sys
from bakeroll.core.git import Access, Git, Source
access = Access("git.example.com", "x", token=sys.stdin.readline().strip())
Git([access], worker_env=os.environ).commit(Source(sys.argv[1], "main"))
"""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"git://127.0.0.1:{silent.getsockname()[1]}/web.git"
        env = {**worker_env(tmp_path), "PYTHONPATH": str(PLUGINS), "TMPDIR": str(temporary)}
        worker = subprocess.Popen(
            [sys.executable, "-c", program, address], env=env, stdin=subprocess.PIPE, text=True
        )
        assert worker.stdin is not None
        worker.stdin.write(TOKEN + "\n")
        worker.stdin.close()
        silent.settimeout(120)
        connection, _ = silent.accept()
        assert any(TOKEN in file.read_text() for file in temporary.rglob("*.credential"))
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        connection.close()
    deadline = time.monotonic() + 60
    while list(temporary.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert list(temporary.iterdir()) == []


def test_the_worker_s_own_git_settings_stay_good(tmp_path: Path, repository: Repository) -> None:
    (tmp_path / ".gitconfig").write_text(f'[url "{repository.path}"]\n  insteadOf = mine:web\n')
    access = Access("git.example.com", "x", token=TOKEN)
    assert client(tmp_path, access).commit(Source("mine:web", "main"))


def test_files_are_private_and_nothing_secret_is_in_the_environment(tmp_path: Path, ssh: SshGit) -> None:
    key = ssh.key.rstrip("\n").replace("\n", "\r\n")
    access = Access("git.example.com", "x", token=TOKEN, private_key=key)
    folder = tmp_path / "with %d and 'space"
    with credentials(folder, [access], {"PATH": os.environ["PATH"], "GITHUB_TOKEN": "no"}) as env:
        modes = {path.name: oct(path.stat().st_mode & 0o777) for path in folder.iterdir()}
        assert set(modes.values()) == {"0o600"}
        assert folder.stat().st_mode & 0o777 == 0o700
        assert TOKEN not in str(env)
        assert "GITHUB_TOKEN" not in env
        said: list[str] = []
        ask = ["git", "config", "--get-urlmatch", "credential.helper", "https://git.example.com/x"]
        assert Tool().run(ask, cwd=folder, env=env, on_line=said.append) == 0
        assert "cat " in said[0]
        filled: subprocess.CompletedProcess[str] = subprocess.run(
            ["git", "credential", "fill"], env=env, input="protocol=https\nhost=git.example.com\n\n",
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert f"password={TOKEN}" in filled.stdout
        shown = subprocess.run(
            ["ssh", "-F", str(folder / "ssh_config"), "-G", "git.example.com"],
            env=env, capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        assert "stricthostkeychecking true" in shown
        assert "batchmode yes" in shown
        assert f"identityfile {folder}/0-0.key" in shown.replace("%%", "%")
    assert not folder.exists()


def test_a_connection_that_opens_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"connection empty for git\.example\.com opens nothing"):
        Access("git.example.com", "empty")
    with pytest.raises(ConfigError, match="must be one line each"):
        Access("git.example.com", "x", token="a\nhost=evil")
    assert TOKEN not in repr(Access("git.example.com", "x", token=TOKEN, private_key="x"))
