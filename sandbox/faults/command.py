"""``python -m sandbox fault list | set | clear``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

from sandbox.client import Client, ClientError

EXAMPLES = """
examples:
  python -m sandbox fault set throttle action='*' rate=0.2
  python -m sandbox fault set lost action=autoscaling:UpdateAutoScalingGroup count=1
  python -m sandbox fault set '{"fault": "slow", "action": "ec2:Describe*", "seconds": 3}'
  python -m sandbox fault clear
"""


def add_to(parser: argparse.ArgumentParser, common: argparse.ArgumentParser) -> None:
    """Add the command's own commands.

    :param common: options that each takes.
    """
    commands = parser.add_subparsers(dest="fault_command", required=True, metavar="list | set | clear")
    commands.add_parser("list", parents=[common], help="what is set, with how often each hit")
    setting = commands.add_parser(
        "set",
        parents=[common],
        help="set one",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    setting.add_argument("setting", nargs="+", metavar="FAULT name=value ...", help="or one JSON object")
    clearing = commands.add_parser("clear", parents=[common], help="clear one, or all")
    clearing.add_argument("id", nargs="?", type=int)


def run(client: Client, options: argparse.Namespace) -> list[str]:
    """Run one of the commands.

    :return: the lines to print.
    :raises ClientError: in one line, if the sandbox refuses.
    """
    if options.fault_command == "set":
        return [str(client.set_fault(**read_setting(options.setting)))]
    if options.fault_command == "clear":
        client.clear_faults(options.id)
        return []
    return [json.dumps(each) for each in client.get("faults")]


def read_setting(words: Sequence[str]) -> dict[str, Any]:
    """Read a setting as it is typed: ``throttle action=* rate=0.2``, or a JSON object.

    :raises ClientError: if it is neither.
    """
    if len(words) == 1 and words[0].lstrip().startswith("{"):
        try:
            whole: dict[str, Any] = json.loads(words[0])
        except ValueError as error:
            message = f"the setting is no JSON: {error}"
            raise ClientError(message) from None
        return whole
    setting: dict[str, Any] = {"fault": words[0]}
    for word in words[1:]:
        name, equals, value = word.partition("=")
        if not equals or not name:
            message = f"{word!r} is no name=value, for instance rate=0.2"
            raise ClientError(message)
        setting[name] = _value(value)
    return setting


def _value(text: str) -> Any:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, int | float) else text
