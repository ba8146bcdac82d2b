"""Launch templates, kept by moto."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sandbox.gateway.moto import Moto
from sandbox.model.ports import LaunchError


class MotoLaunchTemplates:
    """Implements :class:`sandbox.model.ports.LaunchTemplates`."""

    def __init__(self, moto: Moto) -> None:
        self._moto = moto
        self._data: dict[tuple[str, str], Mapping[str, Any]] = {}
        self._deleted: set[tuple[str, str]] = set()

    def resolve(self, template: str, version: str) -> tuple[str, str, str, Mapping[str, Any]]:
        """Find one version's data."""
        record = self._find(template)
        number = {"$Latest": record.latest_version_number, "$Default": record.default_version_number}.get(
            version, version
        )
        known = str(number).isdigit() and 0 < int(number) <= record.latest_version_number
        if not known or self.deleted(record.id, str(number)):
            code = "InvalidLaunchTemplateId.VersionNotFound"
            message = (
                f"Could not find the specified version {version} for the launch template with ID {record.id}."
            )
            raise LaunchError(code, message)
        return record.id, record.name, str(number), self._version(record.id, str(number))

    def deleted(self, template_id: str, number: str) -> bool:
        """Tell whether a version was deleted."""
        return (template_id, number) in self._deleted

    def delete(self, template_id: str, number: str) -> None:
        """Delete a version.

        :raises LaunchError: if there is none, or if it is the default or the newest one (AWS keeps the first
            as well; what becomes of ``$Latest`` without the second is not modelled).
        """
        self.resolve(template_id, number)
        record = self._find(template_id)
        if int(number) in {record.default_version_number, record.latest_version_number}:
            code = "InvalidLaunchTemplateId.VersionNotFound"
            raise LaunchError(
                code, f"Version {number} is the default or the newest one and cannot be deleted."
            )
        self._deleted.add((template_id, number))

    def _find(self, template: str) -> Any:
        for record in self._moto.ec2.launch_templates.values():
            if template in {record.id, record.name}:
                return record
        if template.startswith("lt-"):
            code, message = (
                "InvalidLaunchTemplateId.NotFound",
                f"The specified launch template, with ID {template}",
            )
        else:
            code = "InvalidLaunchTemplateName.NotFoundException"
            message = f"The specified launch template, with template name {template}"
        raise LaunchError(code, f"{message}, does not exist.")

    def _version(self, template_id: str, number: str) -> Mapping[str, Any]:
        # A version never changes, so it is read from moto once.
        if (template_id, number) not in self._data:
            answer = self._moto.call(
                "ec2",
                "DescribeLaunchTemplateVersions",
                {"LaunchTemplateId": template_id, "Versions": [number]},
            )
            self._data[template_id, number] = answer["LaunchTemplateVersions"][0]["LaunchTemplateData"]
        return self._data[template_id, number]
