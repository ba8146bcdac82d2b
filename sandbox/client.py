"""A running sandbox's control path, from Python.

::

    Client(4566).set_fault(fault="throttle", action="*", rate=0.2)
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

TIMEOUT_SECONDS = 30.0


class ClientError(Exception):
    """The sandbox refuses or does not answer; the text is one line."""


class Client:
    """Looks at a sandbox and sets what goes wrong in it.

    :param port: where it listens on 127.0.0.1.
    """

    def __init__(self, port: int) -> None:
        self._port = port

    def get(self, what: str) -> Any:
        """Return ``status``, ``calls`` or ``faults``."""
        return self._send("GET", what)

    def set_fault(self, **setting: Any) -> int:
        """Set a fault.

        :param setting: as in ``docs/sandbox.md``.
        :return: its id.
        :raises ClientError: if the setting makes no sense.
        """
        return int(self._send("POST", "faults", setting)["id"])

    def clear_faults(self, number: int | None = None) -> None:
        """Clear one fault, or all.

        :raises ClientError: if there is none with this id.
        """
        self._send("DELETE", "faults" if number is None else f"faults/{number}")

    def _send(self, method: str, what: str, value: Any = None) -> Any:
        request = urllib.request.Request(  # the address is fixed but for the port
            f"http://127.0.0.1:{self._port}/_sandbox/{what}",
            method=method,
            data=None if value is None else json.dumps(value).encode(),
            headers={"Content-Type": "application/json"},
        )
        # No proxy of the environment stands between this machine and itself.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=TIMEOUT_SECONDS) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise ClientError(json.load(error)["error"]) from error
        except (OSError, ValueError) as error:
            message = f"the sandbox on port {self._port} does not answer: {error}"
            raise ClientError(message) from error
