"""Generates the contracts package from its .proto sources (`make proto`), or with --check says whether it is stale.

The generated modules are committed, so that a reader and an image build need no protoc.
"""

from __future__ import annotations

import argparse
import filecmp
import os
import shutil
import subprocess
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent / "proto"
GENERATED = ("*_pb2.py", "*_pb2.pyi", "*_pb2_grpc.py", "*_pb2_grpc.pyi")


def generate(out: Path) -> None:
    sources = sorted(str(p.relative_to(ROOT)) for p in ROOT.rglob("*.proto"))
    well_known = files("grpc_tools") / "_proto"
    flags = [f"--{kind}_out={out}" for kind in ("python", "grpc_python")]
    flags += [f"--mypy_out=quiet:{out}", f"--mypy_grpc_out=quiet,only_async:{out}"]
    # protoc finds the mypy plugins on the PATH: put this interpreter's scripts first, whatever the shell has.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    subprocess.run(
        [sys.executable, "-m", "grpc_tools.protoc", f"-I{ROOT}", f"-I{well_known}", *flags, *sources],
        check=True,
        env={**os.environ, "PATH": path},
    )
    for folder in {(out / s).parent for s in sources}:
        (folder / "__init__.py").touch()


def generated(root: Path) -> set[Path]:
    return {p.relative_to(root) for pattern in GENERATED for p in root.rglob(pattern)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 when the committed code is stale")
    check = parser.parse_args().check
    with tempfile.TemporaryDirectory() as scratch:
        fresh = Path(scratch)
        generate(fresh)
        new, old = generated(fresh), generated(ROOT)
        stale = sorted(
            str(p)
            for p in new | old
            if p not in new or p not in old or not filecmp.cmp(fresh / p, ROOT / p, shallow=False)
        )
        if check:
            for name in stale:
                print(f"stale: proto/{name} (run `make proto` and commit)", file=sys.stderr)
            return 1 if stale else 0
        for p in old - new:
            (ROOT / p).unlink()
        for p in new:
            (ROOT / p).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(fresh / p, ROOT / p)
        for folder in {(ROOT / p).parent for p in new}:
            (folder / "__init__.py").touch()
        print(f"{len(new)} files generated, {len(stale)} changed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
