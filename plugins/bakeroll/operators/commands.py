"""Show a drain's command in the AWS console."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from bakeroll.core.rollout.drains import commands
from bakeroll.links.console import CommandLink

if TYPE_CHECKING:
    from airflow.sdk import Context

    from bakeroll.core.deployment import Deployment

log = logging.getLogger(__name__)


def show_newest(
    context: Context, deployment: Deployment, document: str, since: float, instance_ids: Sequence[str]
) -> None:
    """Show the newest command that was sent to one of the instances, if there is one.

    :param document: the drain document's name.
    :param since: commands before that time (seconds since the epoch) do not count.
    """
    try:
        known = commands.invocations(deployment.clients.ssm, document, since)
    except (BotoCoreError, ClientError) as error:
        log.warning("no link to the SSM command: %s", error)  # the drain itself is what matters
        return
    ours = [one for instance_id in instance_ids for one in known.get(instance_id, [])]
    newest = max(ours, key=lambda one: one.requested_at, default=None)
    if newest:
        CommandLink.show(context, deployment.environment.region, command_id=newest.command_id)
