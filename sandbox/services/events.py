"""EventBridge: rules are moto's, as far as the sandbox's bus delivers what they ask for."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from sandbox.gateway.bus import DELIVERED, MotoEventBus
from sandbox.gateway.moto import Moto
from sandbox.model.errors import ServiceError
from sandbox.wire.app import Handler

Params = dict[str, Any]


def actions(moto: Moto, bus: MotoEventBus) -> dict[str, Handler]:
    """Return EventBridge's handlers."""

    def put_rule(params: Params) -> dict[str, Any]:
        if params.get("ScheduleExpression"):
            raise _refused("a rule with a schedule")
        if params.get("EventBusName") not in {None, "default"}:
            raise _refused("a bus other than the default one")
        return moto.call("events", "PutRule", params)

    def put_targets(params: Params) -> dict[str, Any]:
        for target in params.get("Targets", ()):
            service = (target["Arn"].split(":") + [""] * 3)[2]
            if service not in DELIVERED:
                raise _refused(f"a rule's target of the service {service}")
            if target.get("InputTransformer") or target.get("InputPath"):
                raise _refused("a target's InputTransformer or InputPath")
            if target.get("RoleArn"):
                raise _refused("a target's RoleArn; let the target's policy allow EventBridge")
        return moto.call("events", "PutTargets", params)

    def put_events(params: Params) -> dict[str, Any]:
        entries = [_put(bus.deliver, entry) for entry in params.get("Entries", ())]
        return {"FailedEntryCount": sum("ErrorCode" in entry for entry in entries), "Entries": entries}

    return {"PutRule": put_rule, "PutTargets": put_targets, "PutEvents": put_events}


def _put(put: Callable[..., str], entry: Mapping[str, Any]) -> dict[str, str]:
    for name in ("Source", "DetailType", "Detail"):
        if not entry.get(name):
            message = f"Parameter {name} is not valid. Reason: {name} is a required argument."
            return {"ErrorCode": "InvalidArgument", "ErrorMessage": message}
    if entry["Source"].startswith("aws."):
        message = "Not authorized for the source."
        return {"ErrorCode": "NotAuthorizedForSourceException", "ErrorMessage": message}
    try:
        detail = json.loads(entry["Detail"])
    except ValueError:
        return {"ErrorCode": "MalformedDetail", "ErrorMessage": "Detail is malformed."}
    return {"EventId": put(entry["Source"], entry["DetailType"], entry.get("Resources", ()), detail)}


def _refused(what: str) -> ServiceError:
    return ServiceError("ValidationException", f"The sandbox does not model {what}.")
