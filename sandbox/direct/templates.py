"""What a rollout asks of launch templates, and how others add, choose and delete their versions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sandbox.direct.client import Handler, Params
from sandbox.memory import MemoryTemplates
from sandbox.model.errors import ServiceError
from sandbox.model.ports import LaunchError


class DirectTemplates:
    """EC2's handlers of launch template versions over the templates in memory."""

    def __init__(self, templates: MemoryTemplates) -> None:
        self._templates = templates

    def handlers(self) -> dict[str, Handler]:
        """Return the handlers."""
        return {
            "CreateLaunchTemplateVersion": self.create_version,
            "DeleteLaunchTemplateVersions": self.delete_versions,
            "DescribeLaunchTemplateVersions": self.describe_versions,
            "ModifyLaunchTemplate": self.modify,
        }

    def create_version(self, params: Params) -> dict[str, Any]:
        """Add a version to a template that is there."""
        if "SourceVersion" in params:
            what = "The direct account does not model SourceVersion of CreateLaunchTemplateVersion."
            raise ServiceError("InvalidParameterValue", what)
        template_id, name, _, _ = self._resolve(params, "$Latest")
        number = self._templates.put(template_id, params["LaunchTemplateData"], name=name)
        return {"LaunchTemplateVersion": self._version(template_id, number)}

    def modify(self, params: Params) -> dict[str, Any]:
        """Choose the default version."""
        template_id, name, number, _ = self._resolve(params, params["DefaultVersion"])
        self._templates.defaults[template_id] = int(number)
        template = {"LaunchTemplateId": template_id, "LaunchTemplateName": name}
        newest = max(map(int, self._templates.numbers(template_id)))
        return {
            "LaunchTemplate": {**template, "DefaultVersionNumber": int(number), "LatestVersionNumber": newest}
        }

    def delete_versions(self, params: Params) -> dict[str, Any]:
        """Delete versions; neither the default nor the newest one, as in the account behind the wire."""
        deleted, kept = [], []
        for version in params["Versions"]:
            template_id, name, default, _ = self._resolve(params, "$Default")
            numbers = self._templates.numbers(template_id)
            entry = {
                "LaunchTemplateId": template_id,
                "LaunchTemplateName": name,
                "VersionNumber": int(version),
            }
            if version not in numbers or version in {default, numbers[-1]}:
                message = f"Version {version} is not there, or it is the default or the newest one."
                details = {"Code": "launchTemplateVersionDoesNotExist", "Message": message}
                kept.append(entry | {"ResponseError": details})
            else:
                self._templates.delete(template_id, version)
                deleted.append(entry)
        return {
            "SuccessfullyDeletedLaunchTemplateVersions": deleted,
            "UnsuccessfullyDeletedLaunchTemplateVersions": kept,
        }

    def describe_versions(self, params: Params) -> dict[str, Any]:
        """Describe versions of one template; one that does not exist refuses the whole call."""
        template = _template(params)
        versions = params.get("Versions") or self._templates.numbers(template)
        return {"LaunchTemplateVersions": [self._version(template, version) for version in versions]}

    def _version(self, template: str, version: str) -> dict[str, Any]:
        template_id, name, number, data = self._resolve({"LaunchTemplateId": template}, version)
        return {
            "LaunchTemplateId": template_id,
            "LaunchTemplateName": name,
            "VersionNumber": int(number),
            "DefaultVersion": self._templates.defaults[template_id] == int(number),
            "LaunchTemplateData": dict(data),
        }

    def _resolve(self, params: Params, version: str) -> tuple[str, str, str, Mapping[str, Any]]:
        try:
            return self._templates.resolve(_template(params), version)
        except LaunchError as refusal:
            raise ServiceError(refusal.code, refusal.message) from None


def _template(params: Params) -> str:
    template: str = params.get("LaunchTemplateId") or params.get("LaunchTemplateName") or ""
    return template
