"""Asks one service or all three at once: what one cannot answer is told beside what the others did."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Annotated, TypeVar

import typer

from credence_cli.embedded.stack import SERVICES
from credence_cli.exits import CommandFailed, Exit
from credence_cli.output import say

T = TypeVar("T")

Service = Annotated[str | None, typer.Option("--service", help=f"Only this one: {', '.join(SERVICES)}. Else all.")]


def chosen(service: str | None) -> Sequence[str]:
    """The services that `--service` names; without it all."""
    if service is None:
        return SERVICES
    if service not in SERVICES:
        raise typer.BadParameter(f"there is no service {service!r}; choose one of {', '.join(SERVICES)}")
    return (service,)


async def ask_each(
    services: Sequence[str], ask: Callable[[str], Awaitable[T]]
) -> tuple[dict[str, T], dict[str, CommandFailed]]:
    """(answers, failures) by service. Whatever is no CommandFailed is raised."""
    given = await asyncio.gather(*(ask(service) for service in services), return_exceptions=True)
    answers, failures = dict[str, T](), dict[str, CommandFailed]()
    for service, answer in zip(services, given, strict=True):
        if isinstance(answer, CommandFailed):
            failures[service] = answer
        elif isinstance(answer, BaseException):
            raise answer
        else:
            answers[service] = answer
    return answers, failures


def worst(failures: Mapping[str, CommandFailed]) -> Exit:
    """The exit code of the command: the gravest of its failures, OK without one."""
    return max((failure.exit_code for failure in failures.values()), default=Exit.OK)


def told(failures: Mapping[str, CommandFailed]) -> Exit:
    """Says what each service could not answer, and gives the exit code."""
    for name, failure in failures.items():
        say(f"{name}: {failure}")
        for detail in failure.details:
            say(f"  {detail}")
    return worst(failures)
