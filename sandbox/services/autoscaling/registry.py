"""How an action becomes a handler: what it accepts, and the refusal of everything else."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any

import botocore.session
from botocore.model import ListShape, ServiceModel, Shape, StructureShape

from sandbox.model.account import Account
from sandbox.services.errors import not_modelled, validation_error

Params = dict[str, Any]
Handler = Callable[[Account, Params], dict[str, Any]]
"""Takes the account (its lock held) and the parameters in botocore's input shape; returns the output shape.

Raises :class:`~sandbox.services.errors.ServiceError`.
"""


class Registry:
    """The handlers of one part of a service."""

    def __init__(self) -> None:
        self.actions: dict[str, Handler] = {}

    def action(
        self, name: str, accepts: Iterable[str] = (), neutral: Mapping[str, Iterable[Any]] | None = None
    ) -> Callable[[Handler], Handler]:
        """Register a handler.

        :param accepts: the parameters it models.
        :param neutral: parameters it does not model, with the values that ask for nothing.
        """
        modelled = frozenset(accepts)
        harmless = {key: tuple(values) for key, values in (neutral or {}).items()}
        shape = _model().operation_model(name).input_shape

        def register(handler: Handler) -> Handler:
            def checked(account: Account, params: Params) -> dict[str, Any]:
                given = {key: value for key, value in params.items() if value not in (None, [], {})}
                for key, value in given.items():
                    if key not in modelled and value not in harmless.get(key, ()):
                        raise not_modelled(f"The parameter {key} of {name} with the value {value!r}")
                if shape is not None:
                    _require(shape, given, "")
                return handler(account, given)

            self.actions[name] = checked
            return checked

        return register


@cache
def _model() -> ServiceModel:
    return botocore.session.get_session().get_service_model("autoscaling")


def _require(shape: Shape, value: Any, where: str) -> None:
    """Refuse a request that lacks a required member; clients other than SDKs do not check that."""
    if isinstance(shape, StructureShape):
        for name in shape.required_members:
            if value.get(name) is None:
                path = f"{where}.{name[:1].lower()}{name[1:]}".lstrip(".")
                raise validation_error(
                    f"1 validation error detected: Value null at '{path}' failed to satisfy constraint: "
                    "Member must not be null"
                )
        for name, member in shape.members.items():
            if value.get(name) is not None:
                _require(member, value[name], f"{where}.{name[:1].lower()}{name[1:]}")
    elif isinstance(shape, ListShape):
        for number, item in enumerate(value):
            _require(shape.member, item, f"{where}.{number + 1}.member")
