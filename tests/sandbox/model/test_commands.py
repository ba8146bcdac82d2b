"""SSM Run Command.

Systems Manager API reference, SendCommand, GetCommandInvocation, CancelCommand; user guide, "Understanding
command statuses" and "Command document plugin reference".
"""

from __future__ import annotations

import pytest

from sandbox.model.errors import ServiceError
from sandbox.model.ports import CommandResult
from sandbox.virtual import Behaviour

DRAIN = {
    "schemaVersion": "2.2",
    "parameters": {
        "timeoutSeconds": {"type": "String", "default": "300", "allowedPattern": "^[0-9]+$"},
        "units": {"type": "String", "default": ""},
        "commands": {"type": "StringList", "default": []},
    },
    "mainSteps": [
        {
            "action": "aws:runShellScript",
            "name": "drain",
            "precondition": {"StringEquals": ["platformType", "Linux"]},
            "inputs": {
                "timeoutSeconds": "{{ timeoutSeconds }}",
                "runCommand": ["set -eu", "stop {{ units }}", "{{ commands }}"],
            },
        }
    ],
}


@pytest.fixture
def fleet(world):
    world.create(desired=3)
    world.advance(5)
    return world, world.ids()


def send(world, ids, **more):
    return world.account.commands.send(
        document=more.pop("document", DRAIN), document_name="drain", instance_ids=ids, **more
    )


def statuses(command):
    return [(each.status, each.status_details) for each in command.invocations.values()]


def test_runs_with_its_parameters_filled_in(fleet):
    world, ids = fleet
    scripts = []

    def answer(instance_id, script):
        scripts.append(script)
        return CommandResult(status=0, stdout=f"drained {instance_id}\n", stderr="")

    world.hypervisor.default.answer = answer
    command = send(world, ids, parameters={"units": ["web.service"], "commands": ["one", "two"]})
    assert command.status == "Pending"
    world.advance(1)
    assert command.status == "InProgress"
    world.advance(5)
    assert (command.status, statuses(command)) == ("Success", [("Success", "Success")] * 3)
    assert set(scripts) == {"set -eu\nstop web.service\none\ntwo\n"}
    invocation = world.account.commands.invocation(command.command_id, ids[0])
    assert invocation.stdout == f"drained {ids[0]}\n"
    assert invocation.response_code == 0


def test_refused_whole_if_one_instance_is_gone(fleet):
    world, ids = fleet
    world.hypervisor.crash(ids[1])
    with pytest.raises(ServiceError) as caught:
        send(world, ids)
    assert caught.value.code == "InvalidInstanceId"
    assert ids[1] in caught.value.message
    assert ids[0] not in caught.value.message
    assert list(world.account.commands) == []
    assert [online for _instance, online in world.account.commands.agents()].count(True) == 2


def test_failure_and_output_limits(fleet):
    world, ids = fleet
    world.hypervisor.default.answer = lambda *_: CommandResult(
        status=3, stdout="x" * 30000, stderr="y" * 9000
    )
    command = send(world, ids[:1])
    world.advance(10)
    assert statuses(command) == [("Failed", "Failed")]
    [invocation] = command.invocations.values()
    assert (len(invocation.stdout), len(invocation.stderr), invocation.response_code) == (24000, 8000, 3)


def test_execution_timeout(fleet):
    world, ids = fleet
    world.hypervisor.default.command_seconds = 1000
    command = send(world, ids[:1], parameters={"timeoutSeconds": ["60"]})
    world.advance(59)
    assert command.status == "InProgress"
    world.advance(3)
    assert statuses(command) == [("TimedOut", "ExecutionTimedOut")]


def test_an_instance_that_dies_cannot_report(fleet):
    world, ids = fleet
    world.hypervisor.default.command_seconds = 30
    command = send(world, ids[:1], timeout_seconds=60, parameters={"timeoutSeconds": ["100"]})
    world.advance(5)
    world.account.instances.terminate(ids[0], "Client.UserInitiatedShutdown")
    world.advance(100)
    assert command.status == "InProgress"
    world.advance(60)
    assert statuses(command) == [("TimedOut", "ExecutionTimedOut")]


def test_an_agent_that_goes_away_before_delivery(fleet):
    world, ids = fleet
    command = send(world, ids[:1], timeout_seconds=60)
    world.hypervisor.instances[ids[0]] = Behaviour(agent_online=False)
    world.advance(61)
    assert statuses(command) == [("TimedOut", "DeliveryTimedOut")]


def test_cancel(fleet):
    world, ids = fleet
    world.hypervisor.default.command_seconds = 100
    command = send(world, ids[:1])
    world.advance(5)
    world.account.commands.cancel(command.command_id)
    assert command.status == "Cancelling"
    world.advance(1)
    assert statuses(command) == [("Cancelled", "Cancelled")]


def test_max_errors_ends_what_was_not_sent(fleet):
    world, ids = fleet
    world.hypervisor.default.answer = lambda *_: CommandResult(status=1, stdout="", stderr="")
    command = send(world, ids, max_concurrency=1, max_errors=0)
    world.advance(60)
    assert statuses(command) == [
        ("Failed", "Failed"),
        ("Cancelled", "Terminated"),
        ("Cancelled", "Terminated"),
    ]
    assert command.status == "Failed"


def test_at_most_fifty_instances(fleet):
    world, _ids = fleet
    with pytest.raises(ServiceError, match="Between 1 and 50"):
        send(world, [f"i-{number}" for number in range(51)])


@pytest.mark.parametrize(
    ("document", "code"),
    [
        ({"schemaVersion": "0.3", "mainSteps": []}, "InvalidDocument"),
        ({**DRAIN, "mainSteps": DRAIN["mainSteps"] * 2}, "InvalidDocument"),
        ({**DRAIN, "mainSteps": [{"action": "aws:runPowerShellScript"}]}, "InvalidDocument"),
        ({**DRAIN, "parameters": {"units": {"type": "String"}}}, "InvalidParameters"),
    ],
)
def test_what_is_not_modelled_is_refused(fleet, document, code):
    world, ids = fleet
    with pytest.raises(ServiceError) as caught:
        send(world, ids, document=document)
    assert caught.value.code == code


@pytest.mark.parametrize("parameters", [{"nobody": ["x"]}, {"timeoutSeconds": ["soon"]}])
def test_parameters_are_checked(fleet, parameters):
    world, ids = fleet
    with pytest.raises(ServiceError, match="InvalidParameters"):
        send(world, ids, parameters=parameters)
