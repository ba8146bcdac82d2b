"""Every setting of the sandbox, with the environment variables that change them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sandbox.model.times import Times

HOST = "127.0.0.1"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Where the sandbox listens and keeps its things, and whose account it plays."""

    port: int = 4566
    region: str = "ap-northeast-1"
    account_id: str = "123456789012"
    state_dir: Path = Path("build/sandbox")
    cache_dir: Path = Path("~/.cache/bakeroll")
    times: Times = field(default_factory=Times)

    @property
    def endpoint(self) -> str:
        """The address of the account's API."""
        return f"http://{HOST}:{self.port}"

    @classmethod
    def from_environment(
        cls, environ: Mapping[str, str] = os.environ, *, state_dir: Path | None = None
    ) -> Settings:
        """Read BAKEROLL_SANDBOX_PORT, BAKEROLL_SANDBOX_STATE, BAKEROLL_CACHE and XDG_CACHE_HOME.

        :param environ: the environment; an empty value counts as unset.
        :param state_dir: instead of the environment's.
        :raises ValueError: if the port is no number.
        """
        port = environ.get("BAKEROLL_SANDBOX_PORT") or "4566"
        if not port.isdigit() or not 0 < int(port) < 65536:
            message = f"BAKEROLL_SANDBOX_PORT is {port!r}, expected a port number"
            raise ValueError(message)
        own_state = Path(environ.get("BAKEROLL_SANDBOX_STATE") or "build/sandbox")
        caches = Path(environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
        return cls(
            port=int(port),
            state_dir=(state_dir or own_state).absolute(),
            cache_dir=Path(environ.get("BAKEROLL_CACHE") or caches / "bakeroll").expanduser().absolute(),
        )
