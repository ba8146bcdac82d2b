"""EventBridge's default bus: moto keeps rules and targets, this delivers.

moto's own PutEvents knows no SNS targets and delivers the time in a form that AWS does not use.
"""

from __future__ import annotations

import json
import logging
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from moto.utilities.arns import parse_arn

from sandbox.clock import Clock
from sandbox.gateway import policies
from sandbox.gateway.moto import Moto
from sandbox.model.errors import ServiceError

log = logging.getLogger(__name__)

DELIVERED = frozenset({"sqs", "sns"})
"""Services that a rule's target may be of."""

PRINCIPAL = "events.amazonaws.com"


class MotoEventBus:
    """Implements :class:`sandbox.model.ports.EventBus`."""

    def __init__(self, moto: Moto, clock: Clock) -> None:
        self._moto = moto
        self._clock = clock
        self.failed_invocations: Counter[str] = Counter()
        """CloudWatch's metric FailedInvocations, by the rule's name."""

    def put(self, source: str, detail_type: str, resources: Sequence[str], detail: Mapping[str, Any]) -> None:
        """Deliver one event of an AWS service."""
        self.deliver(source, detail_type, resources, detail)

    def deliver(
        self, source: str, detail_type: str, resources: Sequence[str], detail: Mapping[str, Any]
    ) -> str:
        """Deliver one event to the targets of every rule that matches it.

        :return: the event's id.

        Source: EventBridge user guide, "AWS service event metadata".
        """
        event_id = str(uuid.uuid4())
        rules = self._moto.events.describe_event_bus("default").rules.values()
        if not rules:
            return event_id
        event = {
            "version": "0",
            "id": event_id,
            "detail-type": detail_type,
            "source": source,
            "account": self._moto.account_id,
            "time": datetime.fromtimestamp(self._clock.now(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "region": self._moto.region,
            "resources": list(resources),
            "detail": dict(detail),
        }
        for rule in list(rules):
            # moto matches everything with a rule that has no pattern, such as one with a schedule.
            pattern = rule.event_pattern
            if rule.state == "ENABLED" and pattern.get_pattern() and pattern.matches_event(event):
                for target in rule.targets:
                    self._invoke(rule, target["Arn"], _message(target, event))
        return event_id

    def _invoke(self, rule: Any, target: str, message: str) -> None:
        """Deliver a message to a target, or count the failure: whoever put the event never hears of it."""
        try:
            reason = self._send(rule.arn, target, message)
        except ServiceError as error:  # such as a queue that is gone
            reason = f"{error.code}: {error.message}"
        if reason:
            self.failed_invocations[rule.name] += 1
            log.warning("EventBridge's rule %s failed to invoke %s: %s", rule.name, target, reason)

    def _send(self, rule: str, target: str, message: str) -> str | None:
        """Deliver a message as far as the target's policy lets EventBridge.

        :return: why it may not, if so.

        Source: EventBridge user guide, "Using resource-based policies for Amazon EventBridge": queues take
        conditions, topics none, since nothing is filled in there for a condition to look at.
        """
        arn = parse_arn(target)
        context = {"aws:securetransport": "true"}
        if arn.service == "sns":
            asked = self._moto.call("sns", "GetTopicAttributes", {"TopicArn": target})
            if not self._allowed(asked["Attributes"].get("Policy"), "sns:Publish", target, context):
                return f"its policy does not let {PRINCIPAL} sns:Publish"
            self._moto.call("sns", "Publish", {"TopicArn": target, "Message": message})
            return None
        if arn.service == "sqs":
            url = self._moto.call("sqs", "GetQueueUrl", {"QueueName": arn.resource_id})["QueueUrl"]
            asked = self._moto.call(
                "sqs", "GetQueueAttributes", {"QueueUrl": url, "AttributeNames": ["Policy"]}
            )
            context |= {"aws:sourcearn": rule, "aws:sourceaccount": self._moto.account_id}
            if not self._allowed(
                asked.get("Attributes", {}).get("Policy"), "sqs:SendMessage", target, context
            ):
                return f"its policy does not let {PRINCIPAL} sqs:SendMessage for {rule}"
            self._moto.call("sqs", "SendMessage", {"QueueUrl": url, "MessageBody": message})
            return None
        return "the sandbox does not deliver events there"

    @staticmethod
    def _allowed(policy: str | None, action: str, resource: str, context: Mapping[str, str]) -> bool:
        request = policies.Request(service=PRINCIPAL, action=action, resource=resource, context=context)
        return policies.allows(policy, request)


def _message(target: Mapping[str, Any], event: Mapping[str, Any]) -> str:
    return str(target["Input"]) if target.get("Input") else json.dumps(event)
