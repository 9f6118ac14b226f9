"""Every bound of this service's domain and API, in one place: nothing here grows without one.

Each says below it what it bounds and what happens beyond it; `docs/limits.md` is made of these words.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

STEPS_MAX: Final = 2_000
"""Steps of one enrolment's assessments, kept in one document: far above any real learner, far below 16 MB. Beyond: the
row is refused (`too-many-steps`)."""

MARK_MAX: Final = Decimal(100)
"""A mark. Beyond: the row is refused naming `mark`."""

MARK_PLACES_MAX: Final = 4
"""Decimal places of a mark. Beyond: the row is refused naming `mark`."""

REASON_CODE_CHARS_MAX: Final = 30
"""A reason's code. Beyond: the row is refused naming `reason_code`."""

CREDIT_EVENTS_MAX: Final = 2_000
"""Awards, reviews and decisions of one person. Beyond: nothing more is awarded (`history-full`); what is taken back or
confirmed is still taken."""

TARGETS_AT_ONCE: Final = 200
"""Streams named in one read: evaluations look at no more targets than this at a time. Beyond: several reads."""

LEARNERS_PER_PAGE_MAX: Final = 200
"""Learners in one page of assessments, each with their history. Beyond: the page has this many and a token for the
next."""
