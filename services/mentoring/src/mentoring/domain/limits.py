"""Every bound of this service's domain and API, in one place: nothing here grows without one.

Each says below it what it bounds and what happens beyond it; `docs/limits.md` is made of these words.
"""

from __future__ import annotations

from typing import Final

PORTRAIT_CHARS_MAX: Final = 2_000
"""A mentor's pen portrait. Beyond: the row is refused naming `pen_portrait`: write less."""

MENTORS_MAX: Final = 20
"""Mentors named in one shortlist, of which a programme takes exactly its own number. Beyond: the row is refused naming
`mentor_ids`."""

MEETINGS_MAX: Final = 200
"""Meetings of one match. Beyond: the row is refused (`too-many-meetings`): a match has 12 months."""

MENTOR_EVENTS_MAX: Final = 1_000
"""Changes of one mentor's profile. Beyond: the row is refused (`history-full`)."""

MATCH_EVENTS_MAX: Final = 1_000
"""Shortlists, choices and confirmations of one match. Beyond: the row is refused (`history-full`)."""
