"""Every limit of a catalogue file and of the ids made in it.

Each says below it what it bounds and what happens beyond it; `docs/limits.md` is made of these words.
"""

from __future__ import annotations

from typing import Final

ID_MAX_LENGTH: Final = 30
"""Characters of an id, so that two and their joint fit a stream's name. Beyond: the field is named as violated, nothing
is stored: choose a shorter id."""

FILE_BYTES_MAX: Final = 256 * 1024
"""One file, or one programme in a request. Beyond: it is refused (`file-too-large`): describe fewer programmes in
it."""

WIRE_FAULTS_MAX: Final = 1_000
"""Values of one programme in a request that the schema refuses. Beyond: they are not named one by one
(`too-many-faults`): check its file."""

YAML_DEPTH_MAX: Final = 60
"""Levels of YAML within each other. Beyond: the file is refused: nest less."""

RULE_DEPTH_MAX: Final = 10
"""Levels of a rule. Beyond: the file is refused (`rule-too-large`): a learner could not read it either."""

RULE_NODES_MAX: Final = 200
"""Nodes of a rule. Beyond: the file is refused (`rule-too-large`)."""
