"""The exit codes of a service process (sysexits.h where it has a word for it)."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    OK = 0  # asked to stop, drained in time
    INTERNAL = 70  # a watchdog went stale, the drain overran, or a defect at start: restart it
    PORT_TAKEN = 71  # another process listens on the port
    SERVERS_AWAY = 75  # a server it needs did not answer within the start-up time: try again later
    SETTINGS = 78  # the settings are wrong: mend them


class CannotStart(Exception):
    """One sentence for people, and the code to exit with."""

    def __init__(self, code: Exit, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code
