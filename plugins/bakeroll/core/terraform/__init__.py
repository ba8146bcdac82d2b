"""Plan and apply one environment's infrastructure with Terraform or OpenTofu.

:class:`~bakeroll.core.terraform.runs.Terraform` is the way in.
"""

from __future__ import annotations

from bakeroll.core.terraform.outputs import FleetOutput, fleets
from bakeroll.core.terraform.plans import Change, Plan, PlanLocation
from bakeroll.core.terraform.runs import State, Terraform

__all__ = ["Change", "FleetOutput", "Plan", "PlanLocation", "State", "Terraform", "fleets"]
