"""What one command leaves for the next: the token of the last write, so that a query after it sees it."""

from __future__ import annotations

from contextlib import suppress

from credence_cli.embedded.home import credence_home

_FILE = "last-token"


def remember(token: str) -> None:
    """Keeps the token; where it cannot be kept the next query may be a moment behind, no more."""
    if token:
        with suppress(OSError):
            home = credence_home()
            home.mkdir(parents=True, exist_ok=True)
            (home / _FILE).write_text(token)


def last_token() -> str:
    """The last write's token, empty without one."""
    with suppress(OSError):
        return (credence_home() / _FILE).read_text().strip()
    return ""
