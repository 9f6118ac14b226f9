"""The bounds of what this service keeps and answers, in one place."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

# Every step of one enrolment's assessments is kept in one document: far above any real learner, far below 16 MB.
STEPS_MAX: Final = 2_000
MARK_MAX: Final = Decimal(100)
MARK_PLACES_MAX: Final = 4
REASON_CODE_CHARS_MAX: Final = 30
# Streams named in one read: evaluations look at no more targets than this at a time.
TARGETS_AT_ONCE: Final = 200
# Each comes with its history.
LEARNERS_PER_PAGE_MAX: Final = 200
