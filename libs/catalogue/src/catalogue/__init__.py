"""The catalogue: what a scheme file may say, every fault in it, and its form on the wire.

A scheme is a file, never code: the services know rules, units and awards, and learn from here which ones a programme
has.
"""

from catalogue.checks import faults
from catalogue.cross_checks import cross_faults
from catalogue.fault import Fault
from catalogue.ids import ID_PATTERN, is_id, join_id, split_id
from catalogue.limits import ID_MAX_LENGTH
from catalogue.model import Programme, rule_version
from catalogue.periods import last_day

__all__ = [
    "ID_MAX_LENGTH",
    "ID_PATTERN",
    "Fault",
    "Programme",
    "cross_faults",
    "faults",
    "is_id",
    "join_id",
    "last_day",
    "rule_version",
    "split_id",
]
