"""Real git servers on loopback: HTTPS with an authority and tokens, SSH with keys, and git's own."""

from __future__ import annotations

import base64
import datetime as dt
import getpass
import http.server
import ipaddress
import os
import shutil
import socketserver
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

ADDRESS = "127.0.0.1"
_PEM = serialization.Encoding.PEM


class Repository:
    """A repository that a test commits to.

    :param path: its folder; the name should end in ``.git``.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True)
        self.git("init", "-q", "-b", "main")
        self.git("config", "uploadpack.allowReachableSHA1InWant", "false")

    def git(self, *arguments: str) -> str:
        who = {
            f"GIT_{role}_{what}": "a@example.com"
            for role in ("AUTHOR", "COMMITTER")
            for what in ("NAME", "EMAIL")
        }
        env = {"PATH": os.environ["PATH"], "HOME": str(self.path), "GIT_CONFIG_NOSYSTEM": "1", **who}
        done = subprocess.run(
            ["git", *arguments], cwd=self.path, env=env, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    def commit(self, files: dict[str, str] | None = None) -> str:
        """Write files, commit them, and return the commit."""
        for name, text in (files or {}).items():
            file = self.path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        self.git("add", "--all")
        self.git("commit", "-q", "--allow-empty", "-m", "x")
        return self.git("rev-parse", "HEAD")


def every_process() -> bytes:
    """Return the arguments and environment of every process that there is right now."""
    found = [b""]
    for entry in Path("/proc").glob("[0-9]*"):
        for name in ("cmdline", "environ"):
            try:
                found.append((entry / name).read_bytes())
            except OSError:
                continue  # it has ended
    return b"\n".join(found)


class Tls:
    """A certificate authority, and a server's certificate by it."""

    def __init__(self, folder: Path) -> None:
        now = dt.datetime.now(dt.UTC)
        authority, own = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "An authority of a test")])

        def built(subject: x509.Name, key: Any) -> x509.CertificateBuilder:
            return (
                x509.CertificateBuilder().subject_name(subject).issuer_name(name).public_key(key)
                .serial_number(x509.random_serial_number()).not_valid_before(now - dt.timedelta(days=1))
                .not_valid_after(now + dt.timedelta(days=1))
            )  # fmt: skip

        root = built(name, authority.public_key()).add_extension(x509.BasicConstraints(True, None), True)
        host = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(ADDRESS))])
        leaf = built(x509.Name([]), own.public_key()).add_extension(host, True)
        self.authority = root.sign(authority, hashes.SHA256()).public_bytes(_PEM).decode()
        self._chain, self._key = folder / "server.pem", folder / "server.key"
        self._chain.write_bytes(leaf.sign(authority, hashes.SHA256()).public_bytes(_PEM))
        self._key.write_bytes(
            own.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        )

    def context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._chain, self._key)
        return context


class HttpsGit(socketserver.ThreadingTCPServer):
    """``git http-backend`` behind HTTPS and basic authentication.

    :param root: folder of the repositories.
    :param token: the password that opens them.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, root: Path, folder: Path, token: str) -> None:
        super().__init__((ADDRESS, 0), _HttpsHandler)
        self.root, self.token = root, token
        self.tls = Tls(folder)
        self.socket = self.tls.context().wrap_socket(self.socket, server_side=True)
        self.host = f"{ADDRESS}:{self.server_address[1]}"
        self.requests: list[str] = []
        self.logins: set[str] = set()
        self.seen = b""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client that does not trust us hangs up."""

    def url(self, name: str) -> str:
        return f"https://{self.host}/{name}"


class _HttpsHandler(http.server.BaseHTTPRequestHandler):
    server: HttpsGit
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._answer(b"")

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers["Content-Length"])))

    def _answer(self, body: bytes) -> None:
        self.server.requests.append(f"{self.command} {self.path}")
        # Now the client is waiting for us: whatever it told its processes can be seen.
        self.server.seen += every_process()
        given = self.headers.get("Authorization", "").removeprefix("Basic ")
        login, _, password = base64.b64decode(given).decode().partition(":")
        if password != self.server.token:
            return self._send(401, [("WWW-Authenticate", 'Basic realm="git"')], b"")
        self.server.logins.add(login)
        path, _, query = self.path.partition("?")
        env = {
            "PATH": os.environ["PATH"], "GIT_PROJECT_ROOT": str(self.server.root), "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": path, "QUERY_STRING": query, "REQUEST_METHOD": self.command, "REMOTE_USER": login,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
        }  # fmt: skip
        done = subprocess.run(["git", "http-backend"], env=env, input=body, capture_output=True, check=True)
        head, _, answer = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        status = int(headers.pop("Status", "200").split()[0])
        return self._send(status, list(headers.items()), answer)

    def _send(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.send_response(status)
        for name, value in (*headers, ("Content-Length", str(len(body)))):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


class SpawnServer(socketserver.ThreadingTCPServer):
    """Starts a program for each connection, as inetd does.

    :param command: the program; the connection is its input and output.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, command: list[str]) -> None:
        super().__init__((ADDRESS, 0), _SpawnHandler)
        self.command = command
        self.port = self.server_address[1]
        self.host = f"{ADDRESS}:{self.port}"


class _SpawnHandler(socketserver.BaseRequestHandler):
    server: SpawnServer

    def handle(self) -> None:
        subprocess.run(
            self.server.command,
            stdin=self.request,
            stdout=self.request,
            stderr=subprocess.DEVNULL,
            check=False,
        )


class SshGit:
    """sshd that lets one key in.

    :param folder: for its configuration and keys.
    """

    def __init__(self, folder: Path) -> None:
        self.seen = folder / "seen"
        self.key = self._make_key(folder / "user_key")
        self.other_key = self._make_key(folder / "other_key")
        self._make_key(folder / "host_key")
        shutil.copy(folder / "user_key.pub", folder / "authorized_keys")
        look = folder / "look"
        look.write_text(
            f"#!/bin/sh\ncat /proc/[0-9]*/cmdline /proc/[0-9]*/environ >> {self.seen} 2> /dev/null\n"
            'exec sh -c "$SSH_ORIGINAL_COMMAND"\n'
        )
        look.chmod(0o755)
        config = folder / "sshd_config"
        config.write_text(
            f"HostKey {folder}/host_key\nAuthorizedKeysFile {folder}/authorized_keys\nStrictModes no\n"
            f"UsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nForceCommand {look}\n"
        )
        if os.getuid() == 0:
            # OpenSSH wants this empty folder; Debian makes it only when its own service starts.
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        program = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
        if program is None:
            raise FileNotFoundError("sshd is not installed")
        self.server = SpawnServer([program, "-i", "-f", str(config)])
        self.host = self.server.host
        public = (folder / "host_key.pub").read_text().split()
        self.known_hosts = f"[{ADDRESS}]:{self.server.port} {public[0]} {public[1]}"

    def url(self, path: Path) -> str:
        return f"ssh://{getpass.getuser()}@{self.host}{path}"

    @staticmethod
    def _make_key(path: Path) -> str:
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(path)], check=True)
        return path.read_text()


def git_daemon(root: Path) -> SpawnServer:
    """Return git's own server, which lets everybody in: ``git://<host>/<name>``."""
    return SpawnServer(["git", "daemon", "--inetd", "--export-all", f"--base-path={root}", str(root)])


@contextmanager
def serving(server: socketserver.BaseServer) -> Iterator[None]:
    """Let a server answer until the end."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
