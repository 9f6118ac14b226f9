"""Loading programme versions: checked as `credence catalogue check` checks them, each row for itself."""

from __future__ import annotations

from collections.abc import Sequence

from catalogue import Fault, cross_faults, faults
from catalogue.model import Programme
from enrolment.domain.programme import PROGRAMME, LoadProgramme, ProgrammeVersion, programme_stream
from enrolment.views.programmes import all_programmes
from eventcore.decider import Refusal, invalid
from eventcore.execute import Request
from eventcore.outcome import Outcome
from servicekit.kernel import NOT_FOUND, Kernel
from servicekit.scope import Scope


async def load_programmes(
    kernel: Kernel, scope: Scope, wishes: Sequence[Programme | Refusal], *, dry_run: bool
) -> list[Outcome[ProgrammeVersion]]:
    if not scope.unrestricted:
        wishes = [NOT_FOUND] * len(wishes)
    wanted = {i: wish for i, wish in enumerate(wishes) if isinstance(wish, Programme)}
    faulty = check(wanted, await all_programmes(kernel.reader))

    def request(i: int, wish: Programme | Refusal) -> Request[LoadProgramme] | Refusal:
        if isinstance(wish, Refusal):
            return wish
        return faulty.get(i) or kernel.request(programme_stream(wish.id, wish.version), LoadProgramme(programme=wish))

    rows = [request(i, wish) for i, wish in enumerate(wishes)]
    return await kernel.execute(PROGRAMME, rows, dry_run=dry_run)


def check(wanted: dict[int, Programme], loaded: Sequence[Programme]) -> dict[int, Refusal]:
    """The rows that may not be loaded, each with all its faults.

    A reference is met by what is loaded or by another row, wherever it stands in the batch, so the order of files
    does not matter; but not by a row that is itself refused.
    """
    own = {i: faults(programme) for i, programme in wanted.items()}
    faulty = {i: refused(found) for i, found in own.items() if found}
    while True:
        rows = {i: programme for i, programme in wanted.items() if i not in faulty}
        # One of each version: a second row of the same one is the stream's to judge.
        first = {(p.id, p.version): i for i, p in reversed(rows.items())}
        positions = list(first.values())
        others = [programme for programme in loaded if (programme.id, programme.version) not in first]
        between: dict[int, list[Fault]] = {}
        for position, fault in cross_faults([rows[i] for i in positions] + others):
            if position < len(positions):
                between.setdefault(positions[position], []).append(fault)
        if not between:
            return faulty
        faulty |= {i: refused(found) for i, found in between.items()}


def refused(found: Sequence[Fault]) -> Refusal:
    """The refusal of a programme with these faults, each under its path."""
    return invalid(*((_path(fault), f"{fault.message} ({fault.code})") for fault in found))


def _path(fault: Fault) -> str:
    """`awards[0].rule.of[1]`"""
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in fault.path]
    return "".join(parts).removeprefix(".") or "programme"
