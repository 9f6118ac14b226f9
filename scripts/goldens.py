"""Keeps the list of all golden files with their checksums: files are added to it, and none ever changes or goes.

    python scripts/goldens.py --check     exits 1, naming each file that changed, went or is not listed
    python scripts/goldens.py --add       lists the new ones; refuses as above for the others

The list holds where there is no history, such as in an export; where there is, `tests/contracts/test_goldens.py` holds
the list itself to it.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LIST = "tests/contracts/goldens.sha256"
GLOBS = ("services/*/tests/*/golden/*.json", "libs/*/tests/golden/*.json", "tests/corpus/golden/*/*")


def listed(text: str) -> dict[str, str]:
    """Checksum by path, from the text of a list (the format of sha256sum)."""
    return {path: digest for digest, _, path in (line.partition("  ") for line in text.splitlines())}


def present(root: Path) -> dict[str, str]:
    """Checksum by path of every golden file there is."""
    files = sorted(path for glob in GLOBS for path in root.glob(glob))
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def faults(listed_: dict[str, str], present_: dict[str, str]) -> list[str]:
    """What changed or went: no file may."""
    gone = [
        f"{path} is gone: give it back, what was stored under it is still read" for path in listed_.keys() - present_
    ]
    changed = [
        f"{path} was changed: give its content back and add a new version beside it"
        for path, digest in listed_.items()
        if present_.get(path, digest) != digest
    ]
    return sorted(gone + changed)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument("--check", action="store_true")
    how.add_argument("--add", action="store_true")
    adding = parser.parse_args().add
    path = ROOT / LIST
    known, found = listed(path.read_text() if path.exists() else ""), present(ROOT)
    new = sorted(found.keys() - known)
    told = faults(known, found) + ([] if adding else [f"{name} is not listed: run `make goldens`" for name in new])
    print(*told, sep="\n", end="\n" if told else "", file=sys.stderr)
    if adding and not told:
        path.write_text("".join(f"{digest}  {name}\n" for name, digest in sorted({**known, **found}.items())))
        print(f"{len(new)} added, {len(known)} as they were")
    return 1 if told else 0


if __name__ == "__main__":
    sys.exit(main())
