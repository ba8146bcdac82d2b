"""The outputs that a deployment acts on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from bakeroll.core.errors import PlanError


@dataclass(frozen=True)
class FleetOutput:
    """What Terraform made for one fleet.

    :param autoscaling_group: name of the Auto Scaling group.
    :param launch_template_id: for example `lt-0123456789abcdef0`.
    :param termination_hook: name of the lifecycle hook that holds terminating instances.
    :param drain_document: name of the SSM document that drains one.
    """

    autoscaling_group: str
    launch_template_id: str
    termination_hook: str
    drain_document: str


def fleets(environment: str, outputs: Mapping[str, Any]) -> dict[str, FleetOutput]:
    """Read the output `fleets`.

    :param environment: the environment's name.
    :param outputs: all outputs.
    :return: fleet name -> what was made for it.
    :raises PlanError: if the root module has no such output, or not in this form.
    """
    found = outputs.get("fleets")
    names = [field.name for field in fields(FleetOutput)]
    if not isinstance(found, Mapping) or not all(
        isinstance(fleet, Mapping) and all(isinstance(fleet.get(name), str) for name in names)
        for fleet in found.values()
    ):
        raise PlanError(
            f"{environment}: Terraform's output `fleets` must map each fleet to {', '.join(names)}; it is "
            f"{'missing' if found is None else 'something else'}; apply the environment's root module first"
        )
    return {str(name): FleetOutput(**{key: fleet[key] for key in names}) for name, fleet in found.items()}


def from_document(document: Mapping[str, Any]) -> dict[str, Any]:
    """Read outputs as `terraform output -json` and the end of `terraform apply -json` give them.

    :return: name -> value, without sensitive ones.
    """
    return {
        name: output["value"]
        for name, output in document.items()
        if not output.get("sensitive") and "value" in output
    }
