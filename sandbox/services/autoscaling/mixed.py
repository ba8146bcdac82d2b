"""Mixed instances policies, read from a request and written into an answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sandbox.model.account import Account
from sandbox.model.autoscaling.mixed import DEFAULTS, STRATEGIES, MixedInstances, Override
from sandbox.model.autoscaling.state import Group, TemplateRef
from sandbox.services.autoscaling import parameters, shapes
from sandbox.services.autoscaling.registry import Params
from sandbox.services.errors import not_modelled, validation_error

_NUMBERS = ("OnDemandBaseCapacity", "OnDemandPercentageAboveBaseCapacity")


def launches_from(
    account: Account, params: Params, before: Group | None
) -> tuple[TemplateRef, MixedInstances | None]:
    """Read what a group is to launch from: ``LaunchTemplate`` or ``MixedInstancesPolicy``.

    :param before: the group if there is one; what the policy does not name stays as it was.
    :raises ServiceError: ``ValidationError``.
    """
    if ("LaunchTemplate" in params) == ("MixedInstancesPolicy" in params):
        raise validation_error(
            "Valid requests must contain either LaunchTemplate, LaunchConfigurationName, InstanceId or "
            "MixedInstancesPolicy parameter."
        )
    if "LaunchTemplate" in params:
        return parameters.template_ref(account, params["LaunchTemplate"]), None
    policy = params["MixedInstancesPolicy"]
    kept = (before.mixed if before is not None else None) or MixedInstances(distribution=DEFAULTS)
    launch = policy.get("LaunchTemplate") or {}
    specification = launch.get("LaunchTemplateSpecification")
    if specification:
        template = parameters.template_ref(account, specification)
    elif before is not None and before.mixed is not None:
        template = before.template
    else:
        raise validation_error("A mixed instances policy needs a LaunchTemplateSpecification.")
    overrides = kept.overrides
    if "Overrides" in launch:
        overrides = tuple(_override(account, each) for each in launch["Overrides"] or ())
    distribution = _distribution(policy.get("InstancesDistribution") or {})
    return template, MixedInstances(overrides=overrides, distribution={**kept.distribution, **distribution})


def launch_shape(group: Group) -> dict[str, Any]:
    """Return the members of ``AutoScalingGroup`` that say what it launches from."""
    template = shapes.template(group.template)
    if group.mixed is None:
        return {"LaunchTemplate": template}
    launch: dict[str, Any] = {"LaunchTemplateSpecification": template}
    launch["Overrides"] = [_override_shape(each) for each in group.mixed.overrides]
    distribution = dict(group.mixed.distribution)
    if distribution["SpotAllocationStrategy"] == "lowest-price":
        distribution.setdefault("SpotInstancePools", 2)
    return {"MixedInstancesPolicy": {"LaunchTemplate": launch, "InstancesDistribution": distribution}}


def _override(account: Account, given: Mapping[str, Any]) -> Override:
    known = {"InstanceType", "LaunchTemplateSpecification", "WeightedCapacity"}
    for key, value in given.items():
        if key not in known or (key == "WeightedCapacity" and value != "1"):
            raise not_modelled(f"The override {key} of a mixed instances policy with the value {value!r}")
    if not given.get("InstanceType"):
        raise validation_error("Each override of a mixed instances policy needs an InstanceType.")
    own = given.get("LaunchTemplateSpecification")
    return Override(
        instance_type=str(given["InstanceType"]),
        template=parameters.template_ref(account, own) if own else None,
    )


def _override_shape(override: Override) -> dict[str, Any]:
    shape: dict[str, Any] = {"InstanceType": override.instance_type}
    if override.template is not None:
        shape["LaunchTemplateSpecification"] = shapes.template(override.template)
    return shape


def _distribution(given: Mapping[str, Any]) -> dict[str, Any]:
    for name, strategies in STRATEGIES.items():
        if name in given and given[name] not in strategies:
            raise validation_error(f"{name} must be one of {', '.join(sorted(strategies))}.")
    for name in _NUMBERS:
        if name in given and int(given[name]) < 0:
            raise validation_error(f"{name} must not be negative.")
    if int(given.get("OnDemandPercentageAboveBaseCapacity", 0)) > 100:
        raise validation_error("OnDemandPercentageAboveBaseCapacity must be between 0 and 100.")
    return dict(given)
