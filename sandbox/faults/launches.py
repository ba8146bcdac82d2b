"""Launches that EC2 refuses, in its words; Auto Scaling shows them as StatusMessage of a scaling activity.

Sources: Auto Scaling user guide, "Troubleshoot Amazon EC2 Auto Scaling: EC2 instance launch failures", "AMI
issues" and "Capacity limits" (ts-as-instancelaunchfailure, ts-as-ami, ts-as-capacity); EC2 API reference,
"Error codes".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sandbox.faults import fields
from sandbox.faults.errors import FaultSettingError
from sandbox.faults.scope import WHERE, ScopedRule
from sandbox.model.ports import LaunchError, LaunchSpec

NO_CAPACITY = "InsufficientInstanceCapacity"

_QUOTA = "Please visit http://aws.amazon.com/contact-us/ec2-request to request an adjustment to this limit."

MESSAGES: Mapping[str, str] = {
    NO_CAPACITY: (
        "We currently do not have sufficient {type} capacity in the Availability Zone you requested "
        "({zone}). Our system will be working on provisioning additional capacity. You can currently get "
        "{type} capacity by not specifying an Availability Zone in your request."
    ),
    "VcpuLimitExceeded": (
        "You have requested more vCPU capacity than your current vCPU limit of 32 allows for the instance "
        f"bucket that the specified instance type belongs to. {_QUOTA}"
    ),
    "InstanceLimitExceeded": (
        "You have requested more instances (1) than your current instance limit of 20 allows for the "
        f"specified instance type. {_QUOTA}"
    ),
    "MaxSpotInstanceCountExceeded": "Max spot instance count exceeded.",
    "InsufficientFreeAddressesInSubnet": (
        "There are not enough free addresses in subnet '{subnet}' to satisfy the requested number of "
        "instances."
    ),
    "InvalidAMIID.NotFound": "The image id '[{image}]' does not exist",
    "InvalidAMIID.Unavailable": "The image ID '{image}' is no longer available.",
    "InvalidKeyPair.NotFound": "The key pair '{key}' does not exist",
    "InvalidGroup.NotFound": "The security group 'sg-00000000000000000' does not exist",
    "Unsupported": (
        "Your requested instance type ({type}) is not supported in your requested Availability Zone ({zone})."
    ),
    "UnauthorizedOperation": "You are not authorized to perform this operation.",
    "RequestLimitExceeded": "Request limit exceeded.",
    "InternalError": "An internal error has occurred.",
}
"""What EC2 says, by error code; the first is the usual one."""

KIND = "launch-failure"
_READERS: Mapping[str, fields.Reader] = {**WHERE, "code": fields.text, "message": fields.text}


@dataclass(kw_only=True)
class LaunchRule(ScopedRule):
    """One setting for launches."""

    code: str = NO_CAPACITY
    message: str | None = None

    def error(self, spec: LaunchSpec) -> LaunchError:
        """Return the refusal of a launch."""
        return launch_error(self.code, spec, self.message)


def launch_error(code: str, spec: LaunchSpec, message: str | None = None) -> LaunchError:
    """Return EC2's refusal of a launch.

    :param message: instead of EC2's own words for the code.
    """
    if message is not None:
        return LaunchError(code, message)
    text = MESSAGES[code].format(
        type=spec.instance_type,
        zone=spec.availability_zone,
        subnet=spec.subnet_id,
        image=spec.image_id,
        key=spec.data.get("KeyName", ""),
    )
    return LaunchError(code, text)


def read_launch_rule(kind: str, given: Mapping[str, Any]) -> LaunchRule:
    """Read one setting.

    :raises FaultSettingError: if it makes no sense.
    """
    values = fields.read_all(kind, given, _READERS)
    code = values.get("code", NO_CAPACITY)
    if code not in MESSAGES and "message" not in values:
        message = f"code is {code!r}, whose words are not known: add message, or use {', '.join(MESSAGES)}"
        raise FaultSettingError(message)
    return LaunchRule(fault=kind, **values)
