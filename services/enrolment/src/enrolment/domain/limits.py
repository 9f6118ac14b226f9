"""Every bound of this service's domain, in one place: nothing here grows without one."""

from __future__ import annotations

from typing import Final

NAME_CHARS_MAX: Final = 200
EMAIL_CHARS_MAX: Final = 254  # RFC 5321
REFERENCE_CHARS_MAX: Final = 100

SESSIONS_MAX: Final = 500  # of one cohort, cancelled ones included
CAPACITY_MAX: Final = 10_000  # places of one pool; an unlimited cohort has no pool
WAITING_MAX: Final = 10_000  # of one pool; whoever comes later is declined
DECLINED_KEPT: Final = 10_000  # answers of one pool; an older one that is still wanted is given again
REFERENCES_MAX: Final = 20  # of one enrolment
MARKS_MAX: Final = 5_000  # values of one enrolment, corrected ones included: its document stays far below 16 MB
