"""What a fleet's file asks of its new instances before old ones go: soak, alarms, answers over HTTP."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from bakeroll.core.config_types import Duration, DurationOrNone, Matching, Model

LONGEST_ANSWER = timedelta(seconds=30)
"""One request may not take longer: a gate looks every few seconds, and renews the journal's lease then."""
MOST_REQUESTS = 500
URL_WANTED = "http:// or https://, a host and nothing secret, such as https://example.com"
URL = Matching(r"^[\x21-\x7e]+$", URL_WANTED)
PATH = Matching(
    r"^/[\x21-\x22\x24-\x7e]*$", "a path with a / first, without spaces and #, such as /orders?state=new"
)
HOST = Matching(
    r"^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$", "the name of a host and no more, such as www.example.com"
)
HEADER_NAME = Matching(r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$", "the name of a header, such as Content-Type")


def _url(value: str) -> str:
    wanted = f"expected {URL_WANTED}"
    try:
        parts = urlsplit(value)
    except ValueError as error:
        raise ValueError(wanted) from error
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username or parts.fragment:
        raise ValueError(wanted)
    if parts.path not in {"", "/"} or parts.query:
        raise ValueError("expected no path here; write it as `path`")
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0:
        raise ValueError("expected a port from 1 to 65535")
    return value


def _short(value: timedelta) -> timedelta:
    if value > LONGEST_ANSWER:
        raise ValueError(f"expected at most {LONGEST_ANSWER.seconds}s")
    return value


class HttpCheck(Model):
    """What an application has to answer through its load balancer while its new instances are watched."""

    path: Annotated[str, PATH] = Field(
        default="/", description="What is asked for, with its query: a page that needs what users need."
    )
    url: Annotated[str, URL, AfterValidator(_url)] | None = Field(
        default=None,
        description="Where to ask, as `https://www.example.com`; null: the fleet's load balancer, whose "
        "listener forwards to the fleet's target group.",
    )
    host: Annotated[str, HOST] | None = Field(
        default=None,
        description="Name to ask for (Host header and certificate) where it is not the address's.",
    )
    status: Annotated[int, Field(ge=100, le=599)] = Field(
        default=200, description="Status that is expected; redirects are not followed."
    )
    body: Annotated[str, StringConstraints(min_length=1)] | None = Field(
        default=None, description="Text that the first 1 MiB of the body has to have; null: any body."
    )
    headers: dict[Annotated[str, HEADER_NAME], str] = Field(
        default_factory=dict, description="Headers that are expected, whole values by name."
    )
    consecutive: Annotated[int, Field(ge=1, le=MOST_REQUESTS)] = Field(
        default=10,
        description="How many right answers in a row each look wants; more are asked for where new instances "
        "get a small share of the requests.",
    )
    wrong_answers: Annotated[int, Field(ge=0, le=100)] = Field(
        default=0, description="How often in one look a wrong answer only makes the row begin again."
    )
    timeout: Annotated[Duration, AfterValidator(_short)] = Field(
        default=timedelta(seconds=5), description="How long one answer may take, 30s at most."
    )


class Gate(Model):
    """What is watched after each wave, before its old instances go."""

    soak: DurationOrNone = Field(
        default=timedelta(0), description="How long the new instances have to stay healthy."
    )
    alarms: list[Annotated[str, StringConstraints(min_length=1, max_length=255)]] = Field(
        default_factory=list,
        max_length=100,
        description="CloudWatch alarms, metric or composite, by name, that may not be in ALARM.",
    )
    insufficient_data: Literal["ok", "wait", "fail"] = Field(
        default="wait",
        description="What an alarm in INSUFFICIENT_DATA means: `ok` as if quiet, `wait` until it has data, "
        "`fail` as if it were in ALARM.",
    )
    http: HttpCheck | None = Field(
        default=None, description="What the application has to answer; null: nothing is asked."
    )

    @model_validator(mode="after")
    def _each_alarm_once(self) -> Self:
        if twice := sorted({name for name in self.alarms if self.alarms.count(name) > 1}):
            raise ValueError(f"expected each alarm once, {twice[0]!r} is there twice")
        return self

    @property
    def asks(self) -> bool:
        """Whether there is anything to watch."""
        return bool(self.soak or self.alarms or self.http)
