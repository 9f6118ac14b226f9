"""What the operating system says of the stack's processes."""

from __future__ import annotations

import psutil

from credence_cli.embedded.stack import Stack


def of(stack: Stack) -> dict[str, psutil.Process]:
    """By part; those of the servers only when this stack runs them. The client is this process."""
    running = {part.name: psutil.Process(part.pid) for part in stack.status() if part.pid is not None}
    return {**running, "client": psutil.Process()}


def cpu_seconds(stack: Stack) -> dict[str, float]:
    """User and system time since each began."""
    return {name: sum(process.cpu_times()[:2]) for name, process in of(stack).items()}
