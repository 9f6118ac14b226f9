"""Erasure: the fold that learns of it destroys the person's key, in every service its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from pydantic import BaseModel

from eventcore.fold import Marks, View
from eventcore.limits import FOUND_AT_ONCE_MAX
from eventcore.personal import AboutPerson, Keyring
from eventcore.store import ViewStore


class ErasingMarks:
    """The Folder's marks, and with them the keys: whoever a folded document says erased has none here from now on.

    Marks are made good on duplicates and done before anything is acknowledged, so a key is destroyed although a process
    died between the fold and this line, or the store was away.
    """

    def __init__(self, marks: Marks, keyring: Keyring, clock: Callable[[], datetime]) -> None:
        self._marks = marks
        self._keyring = keyring
        self._clock = clock

    async def mark(
        self, view: View[Any], documents: Mapping[str, BaseModel | None], repeated: Mapping[str, int]
    ) -> None:
        erased = [s.partition("-")[2] for s, d in documents.items() if isinstance(d, AboutPerson) and d.erased]
        if erased:
            await self._keyring.destroy(erased, self._clock())
        await self._marks.mark(view, documents, repeated)


async def destroy_again(people: View[Any], views: ViewStore, keyring: Keyring, at: datetime) -> None:
    """Destroys the keys of all whom this view says erased, where there are any: keys that came back with a backup."""
    after = ""
    while found := await views.find(people.name, {"erased": True}, after=after, limit=FOUND_AT_ONCE_MAX):
        after = found[-1][0]
        await keyring.destroy([stream.partition("-")[2] for stream, _ in found], at)
