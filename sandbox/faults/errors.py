"""What the fault layer raises."""

from __future__ import annotations


class FaultSettingError(ValueError):
    """A fault setting makes no sense; the text is one line: what, where, what was expected."""


class NoAnswerError(Exception):
    """The caller gets no answer: the connection is closed.

    :param seconds: how long it stays silent before.
    :param done: whether the call was done all the same.
    """

    def __init__(self, seconds: float, *, done: bool) -> None:
        super().__init__(f"closed after {seconds:g} s, the call was {'done' if done else 'not done'}")
        self.seconds = seconds
        self.done = done
