"""What one command leaves for the next: the token of the last write, so that a query after it sees it."""

from __future__ import annotations

import json
from contextlib import suppress

from credence_cli.addresses import addresses
from credence_cli.embedded.home import credence_home

_FILE = "last-token.json"


def remember(token: str) -> None:
    """Keeps the token; where it cannot be kept the next query may be a moment behind, no more."""
    if token:
        with suppress(OSError):
            home = credence_home()
            home.mkdir(parents=True, exist_ok=True)
            (home / _FILE).write_text(json.dumps({"services": addresses(), "token": token}))


def last_token() -> str:
    """The last write's token, empty without one.

    It names streams of the platform it came from: another one would wait for them in vain.
    """
    with suppress(OSError, ValueError, KeyError, TypeError):
        kept = json.loads((credence_home() / _FILE).read_text())
        if kept["services"] == addresses():
            return str(kept["token"])
    return ""
