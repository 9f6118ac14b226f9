"""How much a process does at once, and who of it has how much: beyond it a call is refused before it costs anything."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from servicekit import limits
from servicekit.errors import TooMuch


@dataclass
class Room:
    """So much at once of one thing, whatever it is counted in."""

    most: int
    taken: int = 0

    @contextmanager
    def take(self, much: int, code: str, message: str) -> Iterator[None]:
        """Raises TooMuch when there is no room for it."""
        if self.taken + much > self.most:
            raise TooMuch(code, message)
        self.taken += much
        try:
            yield
        finally:
            self.taken -= much


class Share:
    """What one caller has of the load."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self.calls = Room(calls_of_one(load.calls.most))
        self.bytes = Room(int(load.bytes.most * limits.CALLS_SHARE_OF_ONE_CALLER))

    @contextmanager
    def holding(self, much: int) -> Iterator[None]:
        """So many bytes of a request or an answer, for as long as they are here."""
        mine = "your calls hold too many bytes at once: wait for them, then send it again with the same id"
        others = "all calls hold too many bytes at once: send it again with the same id"
        with (
            self.bytes.take(much, "too-many-bytes-of-yours", mine),
            self._load.bytes.take(much, "too-many-bytes", others),
        ):
            yield


class Load:
    """The calls that one process serves, and each caller's share of them, so that nobody leaves no room for others."""

    def __init__(self, calls: int) -> None:
        self.calls = Room(calls)
        self.bytes = Room(limits.BYTES_AT_ONCE_MAX)
        self.strangers = Room(limits.STRANGERS_MAX)
        self._shares: dict[str, Share] = {}

    @contextmanager
    def call(self) -> Iterator[None]:
        """Room for a call of whoever it is. Raises TooMuch."""
        message = f"{self.calls.most} calls are being served: send it again with the same id"
        with self.calls.take(1, "too-many-calls", message):
            yield

    @contextmanager
    def caller(self, subject: str) -> Iterator[Share]:
        """Room for a call of this one. Raises TooMuch."""
        share = self._shares.setdefault(subject, Share(self))
        message = f"{share.calls.most} calls of yours are being served: wait for them, then send it again"
        try:
            with share.calls.take(1, "too-many-calls-of-yours", message):
                yield share
        finally:
            if not share.calls.taken:
                self._shares.pop(subject, None)

    @contextmanager
    def stranger(self) -> Iterator[None]:
        """Room for a call without a token. Raises TooMuch."""
        with self.strangers.take(1, "too-many-strangers", "too many calls without a token: ask again, do not watch"):
            yield


def calls_of_one(calls: int) -> int:
    """How many of `calls` one caller, or one connection, may have."""
    return max(1, int(calls * limits.CALLS_SHARE_OF_ONE_CALLER))
