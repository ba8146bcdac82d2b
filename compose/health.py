"""Tell whether a part of Airflow works: `python -m compose.health PART --api ADDRESS | --broker FILE`.

Airflow's own `airflow jobs check` imports all of Airflow each time, which takes seconds of a core. Its API
server knows of the others by their heartbeats; a Celery worker is asked itself.
"""

from __future__ import annotations

import argparse
import http.client
import json
import socket
import sys
from pathlib import Path
from urllib.parse import urlsplit

#: The service's name -> its name in Airflow's answer.
PARTS = {
    "api-server": "metadatabase",
    "scheduler": "scheduler",
    "dag-processor": "dag_processor",
    "triggerer": "triggerer",
}
WORKER = "worker"
TIMEOUT_SECONDS = 10.0


def main(arguments: list[str] | None = None) -> int:
    """Ask; return 0 if the part is healthy, else 1 with the reason."""
    parser = argparse.ArgumentParser(prog="python -m compose.health", description=__doc__)
    parser.add_argument("part", choices=(*PARTS, WORKER))
    parser.add_argument("--api", help="address of the API server")
    parser.add_argument("--broker", type=Path, help="file with the broker's address")
    options = parser.parse_args(arguments)
    try:
        if options.part == WORKER:
            if options.broker is None:
                parser.error("a worker is asked through its broker: --broker FILE")
            problem = ask_worker(options.broker.read_text(encoding="utf-8"), socket.gethostname())
        else:
            if options.api is None:
                parser.error("the API server is asked: --api ADDRESS")
            problem = ask_api(options.api, PARTS[options.part])
    except (OSError, http.client.HTTPException, ValueError) as error:
        problem = f"no answer: {type(error).__name__}: {error}"
    sys.stdout.write(f"{options.part}: {problem or 'healthy'}\n")
    return 1 if problem else 0


def ask_api(address: str, part: str) -> str:
    """Ask the API server for the state of a part; give what is wrong with it, or nothing.

    :param address: `http://host:port`.
    :param part: its name in the answer.
    :raises OSError: if nobody answers.
    :raises ValueError: if the answer is not Airflow's.
    """
    target = urlsplit(address)
    connection = http.client.HTTPConnection(target.hostname or "", target.port or 80, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", "/api/v2/monitor/health")
        answer = connection.getresponse()
        body = answer.read()
    finally:
        connection.close()
    if answer.status != http.HTTPStatus.OK:
        return f"{address} answers {answer.status}"
    state = json.loads(body).get(part, {}).get("status")
    return "" if state == "healthy" else f"{part} is {state or 'unknown'} to {address}"


def ask_worker(broker: str, host: str, wait_seconds: float = TIMEOUT_SECONDS / 2) -> str:
    """Ask a Celery worker for a sign of life; give what is wrong, or nothing.

    :param broker: the broker's address.
    :param host: the worker's host name.
    :param wait_seconds: how long it may take to answer.
    :raises OSError: if the broker does not answer.
    """
    from celery import Celery  # noqa: PLC0415 - takes half a second, which the others need not wait
    from kombu.exceptions import OperationalError  # noqa: PLC0415 - as above

    name = f"celery@{host}"
    with Celery(broker=broker, set_as_current=False) as asking:
        try:
            answers = asking.control.inspect(destination=[name], timeout=wait_seconds).ping()
        except OperationalError as error:
            raise OSError(str(error)) from error
    return "" if name in (answers or {}) else f"{name} does not answer"


if __name__ == "__main__":
    sys.exit(main())
