"""EC2's record of instances and subnets, kept by moto; state and address are the model's."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

from sandbox.gateway.addresses import Addresses
from sandbox.gateway.images import Images
from sandbox.gateway.moto import Moto
from sandbox.model.errors import ServiceError
from sandbox.model.ports import LaunchError, LaunchSpec

STATE_CODES = {
    "pending": 0,
    "running": 16,
    "shutting-down": 32,
    "terminated": 48,
    "stopping": 64,
    "stopped": 80,
}

COPIED = (
    "InstanceType", "KeyName", "SecurityGroupIds", "SecurityGroups", "IamInstanceProfile", "MetadataOptions",
    "BlockDeviceMappings", "Monitoring", "EbsOptimized", "InstanceInitiatedShutdownBehavior",
    "DisableApiTermination", "DisableApiStop", "HibernationOptions", "InstanceMarketOptions",
)  # fmt: skip
"""Members that RunInstances and launch template data share and moto keeps."""


class MotoInstanceRecords:
    """Implements :class:`sandbox.model.ports.InstanceRecords`."""

    def __init__(self, moto: Moto, images: Images, addresses: Addresses) -> None:
        self._moto = moto
        self._images = images
        self._addresses = addresses
        self._by_id: dict[str, Any] = {}

    def create(self, spec: LaunchSpec) -> tuple[str, str]:
        """Record a launch."""
        self._images.require_available(spec.image_id)
        try:
            answer = self._moto.call("ec2", "RunInstances", _run_instances(spec))
        except ServiceError as error:
            raise LaunchError(error.code, error.message) from error
        instance_id: str = answer["Instances"][0]["InstanceId"]
        address = self._addresses.allot()
        record = self._moto.ec2.reservations[answer["ReservationId"]].instances[0]
        self._by_id[instance_id] = record
        if spec.tags:
            # Not by API: only AWS itself may set tags that begin with aws:
            record.add_tags(dict(spec.tags))
        # The subnet's own address goes back at once, as nothing uses it; moto itself gives it back too late.
        for unused in record._private_ips:  # noqa: SLF001
            self._moto.ec2.get_subnet(record.subnet_id).del_subnet_ip(unused)
        _set_address(record, address)
        self.set_state(instance_id, "pending", "")
        return instance_id, address

    def public_keys(self, spec: LaunchSpec) -> Sequence[str]:
        """Return the key pair's public key."""
        pair = self._moto.ec2.key_pairs.get(spec.data.get("KeyName"))
        return (pair.public_key,) if pair else ()

    def set_state(self, instance_id: str, state: str, reason: str) -> None:
        """Record a state where moto's own filters look for it."""
        record = self._by_id[instance_id]
        if state == "terminated":
            self._addresses.release(record.private_ip_address)
            record.terminate()
        elif state in {"running", "stopped"}:
            (record.start if state == "running" else record.stop)()
            _set_address(record, record.private_ip_address)
        record._state.name, record._state.code = state, STATE_CODES[state]  # noqa: SLF001  # moto has no setter
        record._reason = reason  # noqa: SLF001
        if reason:
            code, _, message = reason.partition(": ")
            record.state_reason.code, record.state_reason.message = code, message or reason


class MotoSubnets:
    """Implements :class:`sandbox.model.ports.Subnets`."""

    def __init__(self, moto: Moto) -> None:
        self._moto = moto

    def zone(self, subnet_id: str) -> str:
        """Return the availability zone of a subnet."""
        for subnets in self._moto.ec2.subnets.values():
            if subnet_id in subnets:
                return str(subnets[subnet_id].availability_zone)
        raise KeyError(subnet_id)

    def default(self, zone: str) -> str:
        """Return the default subnet of an availability zone."""
        for subnets in self._moto.ec2.subnets.values():
            for subnet in subnets.values():
                if subnet.availability_zone == zone and str(subnet.default_for_az).lower() == "true":
                    return str(subnet.id)
        raise KeyError(zone)


def _run_instances(spec: LaunchSpec) -> dict[str, Any]:
    data = spec.data
    params: dict[str, Any] = {name: data[name] for name in COPIED if name in data}
    params |= {"ImageId": spec.image_id, "InstanceType": spec.instance_type, "MinCount": 1, "MaxCount": 1}
    if data.get("UserData"):
        params["UserData"] = base64.b64decode(data["UserData"])  # boto3 encodes it again
    interfaces = [dict(interface) for interface in data.get("NetworkInterfaces", ())]
    if interfaces:
        interfaces[0].setdefault("SubnetId", spec.subnet_id)
        params["NetworkInterfaces"] = interfaces
    else:
        params["SubnetId"] = spec.subnet_id
    tags = [tags for tags in data.get("TagSpecifications", ()) if tags.get("ResourceType") == "instance"]
    if tags:
        params["TagSpecifications"] = tags
    return params


def _set_address(record: Any, address: str) -> None:
    interface = record.nics[0]
    interface.private_ip_address = address
    interface.private_ip_addresses = [{"Primary": True, "PrivateIpAddress": address}]
    interface.public_ip = address
