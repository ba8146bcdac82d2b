"""How long what AWS does by itself takes in the sandbox."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Times:
    """Delays in seconds; AWS documents none of them, only that they exist."""

    evaluation_seconds: float = 1.0
    """From a change of a group to Auto Scaling acting on it."""

    registration_seconds: float = 1.0
    """From registering a target to its first health check."""

    health_check_seconds: float = 5.0
    """From an instance's status change to Auto Scaling's health check seeing it."""

    command_delivery_seconds: float = 0.5
    """From SendCommand to the agent starting the command."""

    launch_retry_seconds: float = 15.0
    """From a failed launch to the next try; doubled with each failure."""

    launch_retry_limit_seconds: float = 300.0
    """The longest pause between tries."""

    rebalance_seconds: float = 30.0
    """From zones being out of balance to AZRebalance acting."""
