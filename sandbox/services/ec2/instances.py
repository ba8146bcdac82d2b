"""RunInstances, StartInstances, StopInstances, TerminateInstances, GetConsoleOutput."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sandbox.gateway.moto import Moto
from sandbox.gateway.records import STATE_CODES
from sandbox.model.account import Account
from sandbox.model.errors import ServiceError
from sandbox.model.ports import LaunchError, LaunchSpec
from sandbox.wire.app import Handler

Params = dict[str, Any]

USER_INITIATED = "Client.UserInitiatedShutdown: User initiated shutdown"


class InstanceActions:
    """Instances as clients launch and end them by name."""

    def __init__(self, account: Account, moto: Moto) -> None:
        self._account = account
        self._moto = moto
        self._tokens: dict[str, list[str]] = {}

    def actions(self) -> dict[str, Handler]:
        """Return the handlers."""
        return {
            "RunInstances": self.run,
            "StartInstances": self.start,
            "StopInstances": self.stop,
            "TerminateInstances": self.terminate,
            "DescribeInstanceStatus": self.status,
            "GetConsoleOutput": self.console_output,
        }

    def run(self, params: Params) -> dict[str, Any]:
        """Launch instances; the same client token launches them once."""
        _dry_run(params)
        token = params.get("ClientToken")
        if token not in self._tokens:
            spec = self._spec(params)
            try:
                launched = [self._account.instances.launch(spec) for _ in range(_count(params))]
            except LaunchError as error:
                raise ServiceError(error.code, error.message) from error
            ids = [instance.instance_id for instance in launched]
            if token is None:
                return self._reservation(ids)
            self._tokens[token] = ids
        return self._reservation(self._tokens[token])

    def start(self, params: Params) -> dict[str, Any]:
        """Boot stopped instances."""
        changes = self._each(params, self._account.instances.start)
        return {"StartingInstances": changes}

    def stop(self, params: Params) -> dict[str, Any]:
        """Stop instances; their file systems stay."""
        changes = self._each(params, lambda each: self._account.instances.stop(each, USER_INITIATED))
        return {"StoppingInstances": changes}

    def terminate(self, params: Params) -> dict[str, Any]:
        """Terminate instances.

        Source: EC2 API reference, TerminateInstances: if one is protected, none of its zone is terminated.
        """
        for instance_id in params.get("InstanceIds", ()):
            self._account.instances.get(instance_id)
            if str(self._moto.ec2.get_instance(instance_id).disable_api_termination).lower() == "true":
                message = (
                    f"The instance '{instance_id}' may not be terminated. Modify its 'disableApiTermination' "
                    "instance attribute and try again."
                )
                raise ServiceError("OperationNotPermitted", message)
        changes = self._each(params, lambda each: self._account.instances.terminate(each, USER_INITIATED))
        return {"TerminatingInstances": changes}

    def status(self, params: Params) -> dict[str, Any]:
        """Describe instances' status checks; those of one that cannot be reached fail."""
        answer = self._moto.call("ec2", "DescribeInstanceStatus", params)
        failed = {"Status": "impaired", "Details": [{"Name": "reachability", "Status": "failed"}]}
        for each in answer["InstanceStatuses"]:
            if self._account.impaired(each["InstanceId"]):
                each["InstanceStatus"] = each["SystemStatus"] = failed
        return answer

    def console_output(self, params: Params) -> dict[str, Any]:
        """Show what an instance's console shows."""
        instance = self._account.instances.get(params["InstanceId"])
        text = self._account.hypervisor.console_output(instance.instance_id)
        return {
            "InstanceId": instance.instance_id,
            "Output": base64.b64encode(text.encode()).decode(),
            "Timestamp": datetime.fromtimestamp(self._account.clock.now(), UTC),
        }

    def _each(self, params: Params, change: Callable[[str], str]) -> list[dict[str, Any]]:
        _dry_run(params)
        ids: Sequence[str] = params.get("InstanceIds", ())
        for instance_id in ids:
            self._account.instances.get(instance_id)
        changes = []
        for instance_id in ids:
            before = change(instance_id)
            now = self._account.instances.get(instance_id).state
            changes.append(
                {"InstanceId": instance_id, "PreviousState": _state(before), "CurrentState": _state(now)}
            )
        return changes

    def _spec(self, params: Params) -> LaunchSpec:
        data: dict[str, Any] = dict(params)
        template = data.pop("LaunchTemplate", None)
        found: dict[str, str] = {}
        if template:
            name = template.get("LaunchTemplateId") or template.get("LaunchTemplateName", "")
            try:
                resolved = self._account.templates.resolve(name, str(template.get("Version") or "$Default"))
            except LaunchError as error:
                raise ServiceError(error.code, error.message) from error
            found = dict(zip(("id", "name", "version"), resolved[:3], strict=True))
            data = {**resolved[3], **data}
        subnet_id = self._subnet(data)
        tags = {f"aws:ec2launchtemplate:{key}": value for key, value in found.items() if key != "name"}
        return LaunchSpec(
            image_id=data.get("ImageId") or _missing("ImageId"),
            instance_type=data.get("InstanceType") or "m1.small",
            availability_zone=self._account.subnets.zone(subnet_id),
            subnet_id=subnet_id,
            data=data,
            tags=tags,
            launch_template_id=found.get("id"),
            launch_template_name=found.get("name"),
            launch_template_version=found.get("version"),
        )

    def _subnet(self, data: Mapping[str, Any]) -> str:
        interfaces = data.get("NetworkInterfaces") or [{}]
        subnet_id = data.get("SubnetId") or interfaces[0].get("SubnetId")
        zone = (data.get("Placement") or {}).get("AvailabilityZone") or f"{self._account.region}a"
        try:
            if subnet_id is None:
                return self._account.subnets.default(zone)
            self._account.subnets.zone(subnet_id)
        except KeyError:
            if subnet_id is None:
                raise ServiceError(
                    "MissingInput", f"No default subnet for availability zone: '{zone}'."
                ) from None
            raise ServiceError(
                "InvalidSubnetID.NotFound", f"The subnet ID '{subnet_id}' does not exist"
            ) from None
        return str(subnet_id)

    def _reservation(self, ids: Sequence[str]) -> dict[str, Any]:
        found = self._moto.call("ec2", "DescribeInstances", {"InstanceIds": list(ids)})["Reservations"]
        instances = [instance for reservation in found for instance in reservation["Instances"]]
        return {
            "ReservationId": found[0]["ReservationId"],
            "OwnerId": self._account.account_id,
            "Groups": [],
            "Instances": instances,
        }


def _state(name: str) -> dict[str, Any]:
    return {"Name": name, "Code": STATE_CODES[name]}


def _count(params: Params) -> int:
    return int(params.get("MaxCount") or params.get("MinCount") or 1)


def _missing(name: str) -> str:
    raise ServiceError("MissingParameter", f"The request must contain the parameter {name}")


def _dry_run(params: Params) -> None:
    if params.get("DryRun"):
        raise ServiceError("DryRunOperation", "Request would have succeeded, but DryRun flag is set.", 412)
