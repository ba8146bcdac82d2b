"""Launch template versions: deleting them, which moto lacks, and describing those that are left."""

from __future__ import annotations

from typing import Any

from sandbox.gateway.moto import Moto
from sandbox.gateway.templates import MotoLaunchTemplates
from sandbox.model.errors import ServiceError
from sandbox.model.ports import LaunchError
from sandbox.wire.app import Handler

Params = dict[str, Any]


class TemplateActions:
    """Versions of launch templates as clients see them."""

    def __init__(self, moto: Moto, templates: MotoLaunchTemplates) -> None:
        self._moto = moto
        self._templates = templates

    def actions(self) -> dict[str, Handler]:
        """Return the handlers."""
        return {
            "DeleteLaunchTemplateVersions": self.delete_versions,
            "DescribeLaunchTemplateVersions": self.describe_versions,
        }

    def delete_versions(self, params: Params) -> dict[str, Any]:
        """Delete versions; the default one cannot be deleted.

        Source: EC2 API reference, DeleteLaunchTemplateVersions.
        """
        deleted, kept = [], []
        for version in params.get("Versions", ()):
            template_id, name, _, _ = self._resolve(params, "$Default")
            entry = {
                "LaunchTemplateId": template_id,
                "LaunchTemplateName": name,
                "VersionNumber": int(version),
            }
            try:
                self._templates.delete(template_id, version)
            except LaunchError as error:
                details = {"Code": "launchTemplateVersionDoesNotExist", "Message": error.message}
                kept.append(entry | {"ResponseError": details})
            else:
                deleted.append(entry)
        return {
            "SuccessfullyDeletedLaunchTemplateVersions": deleted,
            "UnsuccessfullyDeletedLaunchTemplateVersions": kept,
        }

    def describe_versions(self, params: Params) -> dict[str, Any]:
        """Describe the versions that were not deleted."""
        if params.get("LaunchTemplateId") or params.get("LaunchTemplateName"):
            for version in params.get("Versions", ()):
                self._resolve(params, version)
        answer = self._moto.call("ec2", "DescribeLaunchTemplateVersions", params)
        answer["LaunchTemplateVersions"] = [
            each
            for each in answer["LaunchTemplateVersions"]
            if not self._templates.deleted(each["LaunchTemplateId"], str(each["VersionNumber"]))
        ]
        return answer

    def _resolve(self, params: Params, version: str) -> tuple[str, str, str, Any]:
        template = params.get("LaunchTemplateId") or params.get("LaunchTemplateName") or ""
        try:
            return self._templates.resolve(template, version)
        except LaunchError as error:
            raise ServiceError(error.code, error.message) from error
