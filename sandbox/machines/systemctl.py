#!/usr/bin/python3 -I
"""systemctl and the first process of a machine, without systemd: docker-systemctl-replacement."""

import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, "/usr/lib/sandbox")

import systemctl3  # type: ignore[import-untyped]

systemctl3.MinimumYield = 0.1  # seconds a unit is watched after its start; the default is 0.5 s for each
systemctl3.InitLoopSleep = 1  # seconds between rounds that reap children and restart failed units
systemctl3.DefaultRestartSec = "100ms"  # systemd's default; the library reads its own "0.1" as 200 s


LOGIN_GRACE_SECONDS = 2.0


class FirstProcess(systemctl3.Systemctl):  # type: ignore[misc]
    """The library's init, which looks after units that were added or started since the boot as well."""

    def restart_failed_units(self, units: list[str], maximum: int | None = None) -> list[str]:
        """Restart what failed, of all started units and not only of those that began with the boot."""
        self._read_units_again()
        restarted: list[str] = super().restart_failed_units(self._started(units), maximum)
        return restarted

    def stop_target_system(self, target: str) -> list[str]:
        """Stop all that was started, not only what is enabled for the target."""
        self._read_units_again()
        units = self._started(self.target_default_services(target, "K"))
        self.sysinit_status(SubState="stopping")
        self._end_logins()
        self.stop_units(units)
        return units

    def _read_units_again(self) -> None:
        self.unitfiles = systemctl3.SystemctlUnitFiles(self._root)

    def _end_logins(self) -> None:
        """End the SSH sessions that are open with all that runs in them, as systemd does at a shutdown.

        ssh.service has KillMode=process: the library would wait for its children, which hold the sessions,
        and for theirs until TimeoutStopSec.
        """
        for number in (signal.SIGTERM, signal.SIGKILL):
            deadline = time.monotonic() + LOGIN_GRACE_SECONDS
            for pid in self._in_logins():
                with suppress(ProcessLookupError):  # it has ended meanwhile
                    os.kill(pid, number)
            while self._in_logins() and time.monotonic() < deadline:
                time.sleep(0.05)

    @staticmethod
    def _in_logins() -> list[int]:
        """List the processes of open sessions: those below sshd's listener, which is a child of ours."""
        parents: dict[int, int] = {}
        listeners = set()
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                pid, _, rest = stat.read_text().partition(" (")
            except (FileNotFoundError, ProcessLookupError):
                continue
            name, _, state = rest.rpartition(") ")
            if state.startswith("Z"):
                continue
            parents[int(pid)] = int(state.split()[1])
            if name == "sshd" and parents[int(pid)] == os.getpid():
                listeners.add(int(pid))
        found: set[int] = set()
        while more := {pid for pid, parent in parents.items() if parent in found | listeners} - found:
            found |= more
        return sorted(found)

    @staticmethod
    def _started(units: list[str]) -> list[str]:
        """Add the units that have a status, which is written when one is started."""
        started = {path.name.removesuffix(".status") for path in Path("/run").glob("*.service.status")}
        return [*units, *sorted(started.difference(units))]


if os.getpid() == 1:
    systemctl3.Systemctl = FirstProcess

sys.exit(systemctl3.main())
