"""Keeps what an operator is about to do, with who does it and why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from eventcore.store import Operation, OperationLog
from servicekit.call import current_call
from servicekit.limits import REASON_CHARS_MAX
from servicekit.violations import Violations


@dataclass(frozen=True)
class Recording:
    """The service's log of operations, in the words of the call being served."""

    log: OperationLog
    clock: Callable[[], datetime]

    async def __call__(self, action: str, subject: str, reason: str) -> Operation:
        """Records it for the caller. Call it before the operation begins: when it raises StoreUnavailable, nothing may
        be done."""
        return await self.log.record(action, subject, current_call().principal.subject, reason.strip(), self.clock())


def check_reason(found: Violations, reason: str, *, field: str = "reason") -> None:
    """Notes a reason that is missing, too long or unprintable."""
    found.text(field, reason, REASON_CHARS_MAX)
