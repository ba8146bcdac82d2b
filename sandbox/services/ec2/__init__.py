"""EC2's actions that change machines; what only describes them is moto's to answer."""

from __future__ import annotations

from sandbox.gateway.images import Images
from sandbox.gateway.moto import Moto
from sandbox.gateway.templates import MotoLaunchTemplates
from sandbox.model.account import Account
from sandbox.model.errors import ServiceError
from sandbox.services.ec2.images import ImageActions
from sandbox.services.ec2.instances import InstanceActions
from sandbox.services.ec2.templates import TemplateActions
from sandbox.wire.app import Handler

REFUSED = (
    "BundleInstance", "CopyImage", "CreateFleet", "CreateRestoreImageTask", "ImportImage", "ImportInstance",
    "RebootInstances", "RegisterImage", "RequestSpotFleet", "RequestSpotInstances",
)  # fmt: skip
"""moto would record these without a machine or a file system behind the record."""


def actions(
    account: Account, moto: Moto, images: Images, templates: MotoLaunchTemplates
) -> dict[str, Handler]:
    """Return EC2's handlers."""
    handlers = {
        **InstanceActions(account, moto).actions(),
        **ImageActions(account, moto, images).actions(),
        **TemplateActions(moto, templates).actions(),
    }
    return handlers | {action: _refuse(action) for action in REFUSED}


def _refuse(action: str) -> Handler:
    def handler(_params: dict[str, object]) -> None:
        raise ServiceError("UnsupportedOperation", f"The sandbox does not model the action {action} of ec2.")

    return handler
