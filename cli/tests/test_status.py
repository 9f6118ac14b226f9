"""`credence status` of services that do not say how they are: why, in one word, and the exit code."""

from __future__ import annotations

import io
import sys
from typing import Any

import grpc
import pytest
from rich.console import Console

from cli.tests.running import Home
from credence.operations.v1 import status_pb2 as pb
from credence_cli.client import CallFailed
from credence_cli.commands import status
from credence_cli.commands.status import Seen, drawn
from credence_cli.exits import CommandFailed, Exit

OK = pb.GetStatusResponse(service="enrolment", state=pb.STATE_OK)


def failed(status: grpc.StatusCode) -> CallFailed:
    return CallFailed(status, "", "what was said", ())


def shown(seen: Seen) -> str:
    console = Console(width=200)
    with console.capture() as captured:
        console.print(drawn(seen))
    return captured.get()


@pytest.mark.parametrize(
    ("failure", "word", "exits"),
    [
        (failed(grpc.StatusCode.UNAVAILABLE), "away", Exit.UNAVAILABLE),
        (failed(grpc.StatusCode.DEADLINE_EXCEEDED), "away", Exit.UNAVAILABLE),
        (failed(grpc.StatusCode.RESOURCE_EXHAUSTED), "busy", Exit.UNAVAILABLE),
        (failed(grpc.StatusCode.PERMISSION_DENIED), "refused", Exit.NOT_ALLOWED),
        (failed(grpc.StatusCode.UNAUTHENTICATED), "refused", Exit.NOT_ALLOWED),
        (CommandFailed(Exit.NOT_ALLOWED, "no token"), "refused", Exit.NOT_ALLOWED),
        (failed(grpc.StatusCode.INTERNAL), "failed", Exit.FAILED),
    ],
)
def test_only_who_does_not_answer_is_away(failure: CommandFailed, word: str, exits: Exit) -> None:
    seen = Seen({"enrolment": OK}, {"mentoring": failure})

    assert seen.data()["mentoring"] == {"state": word, "detail": str(failure)}
    assert word in shown(seen)
    assert seen.exit_code is exits


def test_a_service_that_fails_is_graver_than_one_that_refuses() -> None:
    failing = pb.GetStatusResponse(service="enrolment", state=pb.STATE_FAILING)

    seen = Seen({"enrolment": failing}, {"mentoring": failed(grpc.StatusCode.PERMISSION_DENIED)})

    assert seen.exit_code is Exit.UNAVAILABLE


def test_a_check_is_shown_in_its_consumers_line_and_by_itself_before_there_is_one() -> None:
    held = pb.Check(name="held-mentoring.facts", state=pb.STATE_DEGRADED, detail="not known what is held")
    lag = pb.Check(name="fold-lag", state=pb.STATE_DEGRADED, detail="not known how far it is behind")
    answer = pb.GetStatusResponse(service="mentoring", state=pb.STATE_DEGRADED, checks=[held, lag])
    before = shown(Seen({"mentoring": answer}, {}))
    assert "held-mentoring.facts" in before
    assert "fold-lag" in before

    answer.consumers.add(name="mentoring.facts", held_streams=2)
    answer.consumers.add(name="fold", waiting=3)
    after = shown(Seen({"mentoring": answer}, {}))

    assert "held-mentoring.facts" not in after
    assert "fold-lag" not in after
    assert after.count("not known what is held") == 1


def test_watched_into_a_file_each_look_is_there_before_the_next(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """At a terminal one table is drawn over and over; elsewhere that would show nothing before the end."""
    states = [pb.STATE_OK, pb.STATE_DEGRADED]
    there = list[int]()

    async def look(*_: Any) -> Seen:
        assert isinstance(sys.stdout, io.StringIO)
        there.append(sys.stdout.getvalue().count("enrolment"))
        if not states:
            raise KeyboardInterrupt
        return Seen({"enrolment": pb.GetStatusResponse(state=states.pop(0))}, {})

    monkeypatch.setattr(status, "look", look)
    monkeypatch.setattr(status, "WATCH_EVERY_SECONDS", 0)
    ran = home.call("status", "--watch")

    assert there == [0, 1, 2]
    assert [line.split() for line in ran.out.splitlines() if "enrolment" in line] == [
        ["enrolment", "ok"],
        ["enrolment", "degraded"],
    ]
