"""How git opens private repositories: by files that only it and we can read, for as long as it runs.

Git is told by its environment where its configuration is, and nothing else. Token, key, known hosts and
certificates stand in files of a private folder, so they are in no argument list, no environment, no
address and no log.
"""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bakeroll.core.errors import ConfigError

DEFAULT_LOGIN = "x-access-token"
"""Servers that take a token as the password look at no name, or want this one."""

# A server that says nothing for a minute is given up, also when nobody is left who waits for git.
_SILENT_SECONDS = 60
_CONNECT_SECONDS = 60
_PASSED_ON = ("PATH", "HOME", "SSH_AUTH_SOCK", "SSL_CERT_FILE", "SSL_CERT_DIR")
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY")


@dataclass(frozen=True)
class Access:
    """What opens the repositories of one host.

    :param host: as it stands in addresses, with ``:port`` if they name one.
    :param connection: where it comes from, for messages.
    :param login: the name that goes with the token.
    :param token: sent over HTTPS only.
    :param private_key: SSH key in OpenSSH's or PEM form, without a passphrase.
    :param known_hosts: lines of the server's SSH host keys; None: those the worker knows.
    :param certificates: PEM text of the authorities that may vouch for the server; None: the worker's.
    """

    host: str
    connection: str
    login: str = DEFAULT_LOGIN
    token: str | None = field(default=None, repr=False)
    private_key: str | None = field(default=None, repr=False)
    known_hosts: str | None = None
    certificates: str | None = None

    def __post_init__(self) -> None:
        """Refuse what no server could want.

        :raises ConfigError: if a value cannot be written as git reads it, or there is nothing to open with.
        """
        named = f"connection {self.connection} for {self.host}"
        if "\n" in self.login or "\n" in (self.token or ""):
            raise ConfigError(f"{named}: login and password must be one line each; correct them")
        if not (self.token or self.private_key or self.known_hosts or self.certificates):
            raise ConfigError(
                f"{named} opens nothing: it has neither a token (password) nor a private_key, key_file, "
                "known_hosts or ca_certificate in its extra; add one"
            )

    @property
    def hostname(self) -> str:
        """The host without a port."""
        return self.host.partition(":")[0]


@contextmanager
def credentials(
    folder: Path, accesses: Sequence[Access], worker_env: Mapping[str, str]
) -> Iterator[dict[str, str]]:
    """Write what git needs, give the environment that leads it there, and remove it.

    :param folder: made for it and removed afterwards; it has to lie in a private folder.
    :param worker_env: environment to take PATH, HOME, proxies and git's own settings from.
    :return: the ``GIT_*`` variables and those passed on; no secret is among them.
    """
    folder.mkdir(mode=0o700)
    try:
        yield _environment(folder, accesses, worker_env)
    finally:
        shutil.rmtree(folder)


def _environment(folder: Path, accesses: Sequence[Access], worker_env: Mapping[str, str]) -> dict[str, str]:
    names = [*_PASSED_ON, *_PROXIES, *(name.lower() for name in _PROXIES)]
    env = {name: worker_env[name] for name in names if name in worker_env}
    config = _write(folder / "config", _git_config(folder, accesses, worker_env))
    env["GIT_CONFIG_GLOBAL"] = str(config)
    # Nobody is there to type a password or to accept a host key.
    env |= {"GIT_TERMINAL_PROMPT": "0", "GIT_ASKPASS": "true", "LC_ALL": "C.UTF-8"}
    if any(access.private_key or access.known_hosts for access in accesses):
        ssh_config = _write(folder / "ssh_config", _ssh_config(folder, accesses))
        env["GIT_SSH_COMMAND"] = f"ssh -F {shlex.quote(str(ssh_config))}"
    else:
        env["GIT_SSH_COMMAND"] = worker_env.get(
            "GIT_SSH_COMMAND", f"ssh -o BatchMode=yes -o ConnectTimeout={_CONNECT_SECONDS}"
        )
    return env


def _git_config(folder: Path, accesses: Sequence[Access], worker_env: Mapping[str, str]) -> str:
    """Return git's configuration: the worker's own, then what the connections say of their hosts.

    Source: git-config(1), ``http.<url>.*`` and ``credential.<url>.*``; gitcredentials(7).
    """
    lines: list[str] = []
    if home := worker_env.get("HOME"):
        own = (Path(home, ".config", "git", "config"), Path(home, ".gitconfig"))
        lines += [line for path in own for line in ("[include]", f"path = {_quoted(str(path))}")]
    lines += ["[http]", "lowSpeedLimit = 1", f"lowSpeedTime = {_SILENT_SECONDS}"]
    # As a variable it would be stronger than a host's own authority.
    if authority := worker_env.get("GIT_SSL_CAINFO"):
        lines.append(f"sslCAInfo = {_quoted(authority)}")
    # Nothing goes on in the background of a folder that is about to be removed.
    lines += ["[gc]", "auto = 0", "[maintenance]", "auto = false"]
    for number, access in enumerate(accesses):
        address = _quoted(f"https://{access.host}")
        if access.certificates:
            file = _write(folder / f"{number}.pem", access.certificates)
            lines += [f"[http {address}]", f"sslCAInfo = {_quoted(str(file))}"]
        if access.token:
            file = _write(
                folder / f"{number}.credential", f"username={access.login}\npassword={access.token}\n"
            )
            helper = f'!f() {{ test "$1" = get && cat {shlex.quote(str(file))}; }}; f'
            # The empty one first: no helper of the worker's gets to see, or to keep, this host's token.
            lines += [f"[credential {address}]", "helper =", f"helper = {_quoted(helper)}"]
    return "\n".join([*lines, ""])


def _ssh_config(folder: Path, accesses: Sequence[Access]) -> str:
    """Return SSH's configuration: the connections' hosts, then the worker's own.

    Host keys are always checked. Source: ssh_config(5); the first value found counts.
    """
    lines: list[str] = []
    for number, hostname in enumerate(dict.fromkeys(access.hostname for access in accesses)):
        mine = [access for access in accesses if access.hostname == hostname]
        keys = [access.private_key for access in mine if access.private_key]
        known = [access.known_hosts for access in mine if access.known_hosts]
        lines += [f"Host {hostname}", "StrictHostKeyChecking yes"]
        for position, key in enumerate(keys):
            file = _write(folder / f"{number}-{position}.key", key)
            lines += [f"IdentityFile {_escaped(file)}", "IdentitiesOnly yes", "IdentityAgent none"]
        if known:
            file = _write(folder / f"{number}.known_hosts", "\n".join(known))
            lines += [f"UserKnownHostsFile {_escaped(file)}", "GlobalKnownHostsFile /dev/null"]
    lines += ["Host *", "BatchMode yes", f"ConnectTimeout {_CONNECT_SECONDS}"]
    lines += ["ServerAliveInterval 15", f"ServerAliveCountMax {_SILENT_SECONDS // 15}"]
    return "\n".join([*lines, "Include ~/.ssh/config", "Include /etc/ssh/ssh_config", ""])


def _write(path: Path, text: str) -> Path:
    # Keys copied through a form lose their last line feed or get Windows' ones, which SSH refuses.
    text = text.replace("\r\n", "\n").rstrip("\n") + "\n"
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(text)
    return path


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _escaped(path: Path) -> str:
    return '"' + str(path).replace("%", "%%") + '"'
