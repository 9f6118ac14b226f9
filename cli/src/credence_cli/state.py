"""What one command leaves for the next: the token of the last write, so that a query after it sees it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress

from credence_cli.addresses import addresses
from credence_cli.embedded.home import credence_home

_FILE = "last-token.json"


def remember(token: str, services: Mapping[str, str] | None = None) -> None:
    """Keeps the token; where it cannot be kept the next query may be a moment behind, no more.

    `services`: the addresses of those that gave it, where they are others than the environment names.
    """
    if token:
        with suppress(OSError):
            home = credence_home()
            home.mkdir(parents=True, exist_ok=True)
            kept = {"services": dict(services or addresses()), "token": token}
            (home / _FILE).write_text(json.dumps(kept))


def last_token() -> str:
    """The last write's token, empty without one.

    It names streams of the platform it came from: another one would wait for them in vain.
    """
    with suppress(OSError, ValueError, KeyError, TypeError):
        kept = json.loads((credence_home() / _FILE).read_text())
        if kept["services"] == addresses():
            return str(kept["token"])
    return ""


def forget(token: str) -> None:
    """What it names is not there any more, at the same addresses. A newer token stays."""
    if token == last_token():
        with suppress(OSError):
            (credence_home() / _FILE).unlink(missing_ok=True)
