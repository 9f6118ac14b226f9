"""`credence`, and `python -m credence_cli`. Loading the rest takes most of a second: Ctrl-C meanwhile ends as it does
later, not with a traceback."""

from __future__ import annotations

import sys

from credence_cli.exits import INTERRUPTED, Exit


def main() -> None:
    """The entry point: exit codes are those of `exits.Exit`."""
    try:
        from credence_cli.main import main as loaded
    except KeyboardInterrupt:
        print(INTERRUPTED, file=sys.stderr)
        sys.exit(int(Exit.INTERRUPTED))
    loaded()


if __name__ == "__main__":
    main()
