"""Every bound of this service's domain and API, in one place: nothing here grows without one.

Each says below it what it bounds and what happens beyond it; `docs/limits.md` is made of these words.
"""

from __future__ import annotations

from typing import Final

# People

NAME_CHARS_MAX: Final = 200
"""A person's name, a session's title or place. Beyond: the row is refused naming the field: write less."""

EMAIL_CHARS_MAX: Final = 254  # RFC 5321
"""An e-mail address. Beyond: the row is refused naming `email`."""

PERSON_EVENTS_MAX: Final = 500
"""Changes of one person's name. Beyond: the row is refused (`history-full`); an erasure is still taken."""

# Programmes and cohorts

VERSION_MAX: Final = 100_000
"""A programme's version number. Beyond: the row is refused naming `programme_version`."""

PROGRAMMES_PER_PAGE_MAX: Final = 100
"""Programme versions in one page; fewer where they come to more than PROGRAMMES_PAGE_BYTES_MAX. Beyond: the page has a
token for the next."""

PROGRAMMES_PAGE_BYTES_MAX: Final = 1024 * 1024
"""Programme versions in one page, in bytes, unless a single one is larger. Beyond: the page has a token for the
next."""

SESSIONS_MAX: Final = 500
"""Sessions of one cohort, cancelled ones included. Beyond: the row is refused (`too-many-sessions`): open another
cohort."""

MINUTES_MAX: Final = 1_440
"""Minutes of one session or record. Beyond: the row is refused naming `minutes`: use one for each day."""

COHORT_EVENTS_MAX: Final = 5_000
"""Changes of one cohort's sessions. Beyond: the row is refused (`history-full`): open another cohort."""

# Places

CAPACITY_MAX: Final = 2_000
"""Places of one pool, whose whole history is read for each request; an unlimited cohort has no pool. Beyond: the row
is refused naming `capacity`: leave it out, or open several cohorts."""

WAITING_MAX: Final = 2_000
"""Learners who wait for a place of one pool. Beyond: they are declined, and may ask again."""

DECLINED_KEPT: Final = 2_000
"""Declined requests that one pool remembers. Beyond: the oldest is forgotten; one that is still wanted is answered
again."""

POOL_EVENTS_MAX: Final = 10_000
"""Places and places in the queue that were given and given back in one pool. Beyond: none is given or handed on
any more (`history-full`): open another cohort."""

# Enrolments and attendance

REFERENCES_MAX: Final = 20
"""Providers' own words for one learner on one cohort. Beyond: the row is refused naming `references`."""

REFERENCE_CHARS_MAX: Final = 100
"""A provider's own word for a learner. Beyond: the row is refused naming the field."""

MARKS_MAX: Final = 5_000
"""Values of one enrolment, corrected ones included: its document stays far below 16 MB. Beyond: the row is refused
(`too-many-marks`)."""

ENROLMENT_EVENTS_MAX: Final = 6_000
"""The history of one enrolment: its marks, and each time a place was asked for. Beyond: the row is refused
(`history-full`); a withdrawal is still taken."""

ATTRIBUTES_MAX: Final = 20
"""Attributes of one unscheduled record. Beyond: the row is refused naming `unscheduled.attributes`."""

ANSWER_ROWS_MAX: Final = 10_000
"""Rows of a register, a template or a list of what is outstanding. Beyond: `FAILED_PRECONDITION` (`too-many-rows`): ask
for one cohort, or for single sessions."""

ANSWER_BYTES_MAX: Final = 4_000_000
"""The same in bytes, since a value keeps its history; below the 4 MiB of a message. Beyond: `FAILED_PRECONDITION`
(`too-many-rows`): ask for one cohort, or for single sessions."""
