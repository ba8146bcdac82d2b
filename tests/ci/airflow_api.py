"""A small HTTP server that answers as Airflow 3.3's REST API documents, for what a CI job asks of it."""

from __future__ import annotations

import json
import re
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

TOKEN = "the-token"
RUNS = "/api/v2/dags/rolling_deployment_production/dagRuns"


def task(task_id: str, state: str | None, **more: Any) -> dict[str, Any]:
    return {
        "task_id": task_id,
        "map_index": -1,
        "rendered_map_index": None,
        "try_number": 1,
        "state": state,
        "duration": 1.5 if state == "success" else None,
        "end_date": "2026-01-01T00:00:00Z",
        "operator": "FleetOperator",
        **more,
    }


@dataclass
class Api:
    """What the server knows: each look at a run goes one step on, the last one stays.

    :param steps: run state and task instances, one pair a look.
    :param refusals: why a run did not deploy its image, by the run's id.
    :param faults: status codes, or None for a closed connection, that the next answers are lost by.
    """

    steps: list[tuple[str, list[dict[str, Any]]]]
    url: str = ""
    paused: bool = False
    token: str = TOKEN
    runs: dict[str, str] = field(default_factory=dict)
    posted: list[dict[str, Any]] = field(default_factory=list)
    approvals: list[dict[str, Any]] = field(default_factory=list)
    refusals: dict[str, str] = field(default_factory=dict)
    log: list[Any] = field(default_factory=list)
    logs_asked: list[str] = field(default_factory=list)
    faults: list[int | None] = field(default_factory=list)
    at: int = 0

    @property
    def state(self) -> str:
        return self.steps[min(self.at, len(self.steps) - 1)][0]

    @property
    def tasks(self) -> list[dict[str, Any]]:
        return self.steps[min(self.at, len(self.steps) - 1)][1]

    def answer(self, method: str, address: str, token: str | None, body: Any) -> tuple[int, Any]:
        url = urlsplit(address)
        path = unquote(url.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        if (method, path) == ("POST", "/auth/token"):
            good = body == {"username": "ci", "password": "word"}
            return (201, {"access_token": self.token}) if good else (401, {"detail": "Invalid credentials"})
        if token != f"Bearer {self.token}":
            return 403, {"detail": "Invalid JWT token"}
        if path == "/api/v2/dags/rolling_deployment_production":
            return 200, {"dag_id": "rolling_deployment_production", "is_paused": self.paused}
        if (method, path) == ("POST", RUNS):
            return self._start(body)
        found = re.fullmatch(rf"{RUNS}/([^/]+)(/.*)?", path)
        if method != "GET" or found is None or found[1] not in self.runs:
            return 404, {"detail": f"{method} {path} was not found"}
        return self._look(found[1], found[2] or "", query)

    def _start(self, body: dict[str, Any]) -> tuple[int, Any]:
        if body["dag_run_id"] in self.runs:
            return 409, {"detail": "Unique constraint violation"}
        self.runs[body["dag_run_id"]] = "running"
        self.posted.append(body)
        return 200, {"dag_run_id": body["dag_run_id"], "state": "queued"}

    def _look(self, run_id: str, what: str, query: dict[str, str]) -> tuple[int, Any]:
        if what == "":
            ended = self.runs[run_id] in {"failed", "success"}
            return 200, {"dag_run_id": run_id, "state": self.runs[run_id] if ended else self.state}
        if what == "/taskInstances":
            start = int(query["offset"])
            page = self.tasks[start : start + 3]  # smaller than asked for, as Airflow may be set to
            total = len(self.tasks)
            self.at += start + len(page) >= total
            return 200, {"task_instances": page, "total_entries": total}
        if what == "/hitlDetails":
            return 200, {"hitl_details": self.approvals, "total_entries": len(self.approvals)}
        if what == "/taskInstances/layers.decide/xcomEntries/run_note" and run_id in self.refusals:
            return 200, {"key": "run_note", "value": self.refusals[run_id]}
        if "/logs/" in what:
            self.logs_asked.append(f"{what}?map_index={query['map_index']}")
            return 200, {"content": self.log, "continuation_token": None}
        return 404, {"detail": f"{what} was not found"}


def self_signed(folder: Path) -> Path:
    """Make a certificate of 127.0.0.1 that is its own authority, and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "an authority of one's own")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file = folder / "certificate.pem"
    file.write_bytes(private + certificate.public_bytes(pem))
    return file


@contextmanager
def serving(api: Api, certificate: Path | None = None) -> Iterator[Api]:
    """Serve it on a free loopback port, with TLS if there is a certificate."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer("GET")

        def do_POST(self) -> None:
            self._answer("POST")

        def _answer(self, method: str) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            status, answer = api.answer(method, self.path, self.headers.get("Authorization"), body)
            lost = api.faults.pop(0) if api.faults else 0
            if lost is None:
                self.close_connection = True  # the request has worked, nobody will hear of it
                return
            data = json.dumps(answer).encode()
            self.send_response(lost or status)
            if lost and 300 <= lost < 400:
                self.send_header("Location", "http://127.0.0.1:9/elsewhere")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    api.url = f"{'https' if certificate else 'http'}://127.0.0.1:{server.server_port}"
    try:
        yield api
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
