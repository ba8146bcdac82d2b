"""Systems Manager: Run Command and the managed instances are the model's, documents moto's."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

import yaml

from sandbox.model.account import Account
from sandbox.model.commands import STDERR_LIMIT, STDOUT_LIMIT, Command, Invocation
from sandbox.model.errors import ServiceError
from sandbox.model.instances import Instance
from sandbox.services.paging import page

if TYPE_CHECKING:
    from sandbox.wire.app import Handler

Params = dict[str, Any]

PLUGIN = "aws:runShellScript"

LIST_OUTPUT_LIMIT = 2500
"""Characters of a plugin's output in ListCommandInvocations (API reference, CommandPlugin)."""


class Documents(Protocol):
    """Where documents are kept: moto, or something of its shape."""

    def call(self, service: str, action: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """Answer GetDocument."""


class SsmActions:
    """Run Command and the inventory of agents."""

    def __init__(self, account: Account, documents: Documents) -> None:
        self._account = account
        self._documents = documents

    def actions(self) -> dict[str, Handler]:
        """Return the handlers."""
        return {
            "SendCommand": self.send_command,
            "ListCommands": self.list_commands,
            "ListCommandInvocations": self.list_command_invocations,
            "GetCommandInvocation": self.get_command_invocation,
            "CancelCommand": self.cancel_command,
            "DescribeInstanceInformation": self.describe_instance_information,
        }

    def send_command(self, params: Params) -> dict[str, Any]:
        """Send a command to instances."""
        if params.get("Targets"):
            raise ServiceError(
                "UnsupportedOperation", "The sandbox models SendCommand with InstanceIds only."
            )
        asked = {"Name": params["DocumentName"]}
        if params.get("DocumentVersion"):
            asked["DocumentVersion"] = params["DocumentVersion"]
        document = self._documents.call("ssm", "GetDocument", asked)
        command = self._account.commands.send(
            document=_content(document),
            document_name=params["DocumentName"],
            document_version=document.get("DocumentVersion", "1"),
            instance_ids=params.get("InstanceIds", ()),
            parameters=params.get("Parameters"),
            timeout_seconds=float(params.get("TimeoutSeconds") or 3600),
            max_concurrency=_share(params.get("MaxConcurrency") or "50", params),
            max_errors=_share(params.get("MaxErrors") or "0", params),
            comment=params.get("Comment", ""),
        )
        return {"Command": self._command(command)}

    def list_commands(self, params: Params) -> dict[str, Any]:
        """List commands, newest first."""
        wanted = params.get("CommandId")
        found = [
            self._command(command)
            for command in reversed(list(self._account.commands))
            if wanted in {None, command.command_id}
            and params.get("InstanceId") in {None, *command.invocations}
            and _passes(
                params,
                {"Status": command.status, "DocumentName": command.document_name},
                command.requested,
            )
        ]
        if wanted and not found:
            raise ServiceError("InvalidCommandId", f"The command ID {wanted} does not exist.")
        items, token = page(found, params, 50)
        return {"Commands": items} | token

    def list_command_invocations(self, params: Params) -> dict[str, Any]:
        """List invocations, with their plugins if asked for details."""
        if params.get("CommandId"):
            commands: Iterable[Command] = [self._account.commands.get(params["CommandId"])]
        else:
            commands = reversed(list(self._account.commands))
        found = [
            self._invocation(command, invocation, details=bool(params.get("Details")))
            for command in commands
            for invocation in _of(command, params.get("InstanceId"))
            if _passes(
                params,
                {"Status": invocation.status, "DocumentName": command.document_name},
                command.requested,
            )
        ]
        items, token = page(found, params, 50)
        return {"CommandInvocations": items} | token

    def get_command_invocation(self, params: Params) -> dict[str, Any]:
        """Describe one invocation with its output."""
        invocation = self._account.commands.invocation(params["CommandId"], params["InstanceId"])
        command = self._account.commands.get(params["CommandId"])
        plugin = params.get("PluginName")
        if plugin not in {None, PLUGIN} and plugin != self._step_name(command):
            raise ServiceError("InvalidPluginName", f"The plugin name {plugin} is not valid.")
        answer = {
            "CommandId": command.command_id,
            "InstanceId": invocation.instance_id,
            "Comment": command.comment,
            "DocumentName": command.document_name,
            "DocumentVersion": command.document_version,
            "PluginName": PLUGIN,
            "ResponseCode": invocation.response_code,
            "ExecutionStartDateTime": _iso(invocation.started),
            "ExecutionEndDateTime": _iso(invocation.ended),
            "Status": invocation.status,
            "StatusDetails": invocation.status_details,
            "StandardOutputContent": invocation.stdout[:STDOUT_LIMIT],
            "StandardErrorContent": invocation.stderr[:STDERR_LIMIT],
            "StandardOutputUrl": "",
            "StandardErrorUrl": "",
        }
        if invocation.started is not None and invocation.ended is not None:
            answer["ExecutionElapsedTime"] = f"PT{invocation.ended - invocation.started:.3f}S"
        return answer

    def cancel_command(self, params: Params) -> None:
        """Begin to end a command."""
        self._account.commands.cancel(params["CommandId"], params.get("InstanceIds", ()))

    def describe_instance_information(self, params: Params) -> dict[str, Any]:
        """Describe the instances whose agents registered."""
        tests = [*_filters(params)]
        found = []
        for instance, online in self._account.commands.agents():
            information = self._information(instance, online=online)
            if all(test(instance, information) for test in tests):
                found.append(information)
        items, token = page(found, params, 50)
        return {"InstanceInformationList": items} | token

    def _step_name(self, command: Command) -> str | None:
        document = _content(self._documents.call("ssm", "GetDocument", {"Name": command.document_name}))
        steps = document.get("mainSteps") or [{}]
        name = steps[0].get("name")
        return str(name) if name else None

    def _information(self, instance: Instance, *, online: bool) -> dict[str, Any]:
        now = datetime.fromtimestamp(self._account.clock.now(), UTC)
        return {
            "InstanceId": instance.instance_id,
            "PingStatus": "Online" if online else "ConnectionLost",
            "LastPingDateTime": now,
            "AgentVersion": "3.3.0.0",
            "IsLatestVersion": True,
            "PlatformType": "Linux",
            "PlatformName": "Debian GNU/Linux",
            "PlatformVersion": "12",
            "ResourceType": "EC2Instance",
            "IPAddress": instance.private_ip,
            "ComputerName": f"ip-{instance.private_ip.replace('.', '-')}",
        }

    def _command(self, command: Command) -> dict[str, Any]:
        counts = [each.status for each in command.invocations.values()]
        return {
            "CommandId": command.command_id,
            "DocumentName": command.document_name,
            "DocumentVersion": command.document_version,
            "Comment": command.comment,
            "ExpiresAfter": datetime.fromtimestamp(command.expires, UTC),
            "Parameters": {name: list(values) for name, values in command.parameters.items()},
            "InstanceIds": list(command.invocations),
            "Targets": [],
            "RequestedDateTime": datetime.fromtimestamp(command.requested, UTC),
            "Status": command.status,
            "StatusDetails": command.status,
            "MaxConcurrency": str(command.max_concurrency),
            "MaxErrors": str(command.max_errors),
            "TargetCount": len(counts),
            "CompletedCount": command.completed_count,
            "ErrorCount": command.error_count,
            "DeliveryTimedOutCount": sum(
                each.status_details == "DeliveryTimedOut" for each in command.invocations.values()
            ),
            "TimeoutSeconds": int(command.timeout_seconds),
        }

    def _invocation(self, command: Command, invocation: Invocation, *, details: bool) -> dict[str, Any]:
        plugin = {
            "Name": PLUGIN,
            "Status": invocation.status,
            "StatusDetails": invocation.status_details,
            "ResponseCode": invocation.response_code,
            "Output": _output(invocation)[:LIST_OUTPUT_LIMIT],
            "StandardOutputUrl": "",
            "StandardErrorUrl": "",
        }
        return {
            "CommandId": command.command_id,
            "InstanceId": invocation.instance_id,
            "InstanceName": "",
            "Comment": command.comment,
            "DocumentName": command.document_name,
            "DocumentVersion": command.document_version,
            "RequestedDateTime": datetime.fromtimestamp(invocation.requested, UTC),
            "Status": invocation.status,
            "StatusDetails": invocation.status_details,
            "CommandPlugins": [plugin | _span(invocation)] if details else [],
        }


def _of(command: Command, instance_id: str | None) -> Iterable[Invocation]:
    """Return a command's invocations, or the one on an instance if it has one."""
    if instance_id is None:
        return command.invocations.values()
    return [command.invocations[instance_id]] if instance_id in command.invocations else []


def _output(invocation: Invocation) -> str:
    if not invocation.stderr:
        return invocation.stdout
    return f"{invocation.stdout}\n----------ERROR-------\n{invocation.stderr}"


def _span(invocation: Invocation) -> dict[str, Any]:
    times = {"ResponseStartDateTime": invocation.started, "ResponseFinishDateTime": invocation.ended}
    return {name: datetime.fromtimestamp(when, UTC) for name, when in times.items() if when is not None}


def _content(document: Mapping[str, Any]) -> Mapping[str, Any]:
    text = document["Content"]
    content: Mapping[str, Any] = (
        yaml.safe_load(text) if document.get("DocumentFormat") == "YAML" else json.loads(text)
    )
    return content


def _share(text: str, params: Params) -> int:
    if text.endswith("%"):
        return int(len(params.get("InstanceIds", ())) * int(text[:-1]) / 100)
    return int(text)


def _passes(params: Params, values: Mapping[str, str], requested: float) -> bool:
    return all(
        _passes_one(each["key"], each["value"], values, requested) for each in params.get("Filters", ())
    )


def _passes_one(key: str, value: str, values: Mapping[str, str], requested: float) -> bool:
    """Tell whether a command passes one filter (API reference, CommandFilter)."""
    if key in {"InvokedAfter", "InvokedBefore"}:
        limit = datetime.fromisoformat(value).timestamp()
        return requested >= limit if key == "InvokedAfter" else requested <= limit
    if key not in values:
        raise ServiceError("InvalidFilterKey", f"The sandbox does not model the filter {key}.")
    return values[key] == value


Test = Callable[[Instance, Mapping[str, Any]], bool]

_MEMBERS = {"PingStatus": "PingStatus", "PlatformTypes": "PlatformType", "ResourceType": "ResourceType"}


def _filters(params: Params) -> Iterator[Test]:
    for each in params.get("Filters", ()):
        yield _test(each["Key"], each["Values"])
    for each in params.get("InstanceInformationFilterList", ()):
        yield _test(each["key"], each["valueSet"])


def _test(key: str, values: Sequence[str]) -> Test:
    if key == "InstanceIds":
        return lambda instance, _: instance.instance_id in values
    if key in _MEMBERS:
        return lambda _, information: information[_MEMBERS[key]] in values
    message = f"The sandbox does not model the filter {key}."
    raise ServiceError("InvalidFilterKey", message)


def _iso(when: float | None) -> str:
    if when is None:
        return ""
    return datetime.fromtimestamp(when, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
