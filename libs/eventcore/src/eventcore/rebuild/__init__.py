"""Rebuild: views are folded anew from the log into rooms of their own, verified, and switched to in one step.

The old generation serves meanwhile, and nothing that reads ever fails. Why no record is missing afterwards:

**Foreign views.** The builder reads the topics by itself, without a group. When it is near their end it sets
`switching`, asks for the ends *after* that, reads up to them, and moves the pointers. A consumer reads the pointers
*after* it fetched its batch; whatever it folds by a pointer from before `switching` was fetched, hence published,
before the ends were taken: the builder has it. By a pointer from between it folds nothing (`Gate`); by one from after
it folds into the new generation, which goes on without a gap.

**Own views.** From the moment that `building` is stored every own fold goes into the building generation too
(`Also`), and the builder then scans every stream. What an own fold did by an older pointer it had read from the log
before it read that pointer, so the scan finds it. There is no moment at which the two differ, so nothing has to stand
still.

**Evaluations.** After the pointers moved, everything that rests on the views is marked. An evaluator reads revisions,
then pointers, then facts: what it found on the old generation either loses its guard to these marks or is finished
before them, and is evaluated again either way. Until all is marked, the document says `marking`: whoever finds it so
(`finish_marking`) does it again, which is harmless.

A builder can die anywhere: what it reached is stored after it was folded, and folding again is harmless. So it begins
a phase again, too, when the database or the log was away. Only the switch is not begun again once it was made: it is
looked for first, and nothing but `finish_marking` takes a document out of `marking`.
"""

from __future__ import annotations

from eventcore.rebuild.builder import Rebuild, Wish
from eventcore.rebuild.findings import Done, Findings, Progress, Refused, Stopped
from eventcore.rebuild.live import Also, NoMarks, adopt, changed, finish_marking
from eventcore.rebuild.rehearse import Change, Rehearsal
from eventcore.rebuild.sources import Log, LogAway, OwnLog, Topics
from eventcore.rebuild.verify import Comparison, Difference

__all__ = [
    "Also", "Change", "Comparison", "Difference", "Done", "Findings", "Log", "LogAway", "NoMarks", "OwnLog", "Progress",
    "Rebuild", "Refused", "Rehearsal", "Stopped", "Topics", "Wish", "adopt", "changed", "finish_marking",
]  # fmt: skip
