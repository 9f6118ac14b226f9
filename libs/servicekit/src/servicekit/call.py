"""The RPC being served, for code that is called below the handler."""

from __future__ import annotations

import time
from contextvars import ContextVar
from dataclasses import dataclass

from servicekit.scope import Principal, Scope


@dataclass(frozen=True, slots=True)
class Call:
    """`deadline` is on the monotonic clock, the client's or the imposed one, whichever is sooner."""

    method: str
    principal: Principal
    scope: Scope
    request_id: str
    deadline: float

    def remaining_seconds(self) -> float:
        """Time left to answer, at least 0: the bound of every wait within this call."""
        return max(0.0, self.deadline - time.monotonic())


# Set once in an RPC's own task and never reset: the task's context dies with it.
_current: ContextVar[Call] = ContextVar("credence_call")


def enter_call(call: Call) -> None:
    """Makes `call` the current one for the rest of this task; the interceptor's business."""
    _current.set(call)


def current_call() -> Call:
    """The call being served. Raises LookupError outside one: background work has no caller to act for."""
    try:
        return _current.get()
    except LookupError:
        raise LookupError("no RPC is being served here; pass a scope explicitly") from None


def current_scope() -> Scope:
    """The scope of the call being served."""
    return current_call().scope
