"""`credence views rebuild`: what it asks, what it says, and how it ends, with services that answer as they are told."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from credence.operations.v1 import log_pb2
from credence.operations.v1 import views_pb2 as pb
from credence_cli.commands import views
from credence_cli.exits import CommandFailed, Exit

CHANGE = pb.DecisionChange(evaluation="standing", target="com-1--s-1", paths=["awards"])
DONE = pb.RebuildViewsResponse(done=pb.RebuildDone(generations={"enrolments": 2}, marked=3))


def finds(*, waits: bool = True, **more: Any) -> pb.RebuildViewsResponse:
    return pb.RebuildViewsResponse(findings=pb.RebuildFindings(targets=3, waits=waits, **more))


def decisions(digest: str) -> pb.RebuildViewsResponse:
    return finds(decisions=1, changes=[CHANGE], digest=digest)


@dataclass
class Services:
    """Answers each rebuild with what is next; `republished` are those that published their log again."""

    answers: list[list[pb.RebuildViewsResponse]] = field(default_factory=list)
    topics: tuple[str, ...] = ()
    asked: list[pb.RebuildViewsRequest] = field(default_factory=list)
    republished: list[str] = field(default_factory=list)
    cut_off: bool = False

    def stub(self, _stub: Any, service: str) -> Any:
        return SimpleNamespace(RebuildViews="rebuild", ListViews="list", Republish=f"republish {service}")

    async def call(self, _method: str, _request: Any) -> pb.ListViewsResponse:
        return pb.ListViewsResponse(topics=self.topics)

    async def stream(self, method: str, request: Any, *, deadline: float) -> AsyncIterator[Any]:
        assert deadline > 3600
        if method == "rebuild":
            self.asked.append(pb.RebuildViewsRequest.FromString(request.SerializeToString()))
            for answer in self.answers.pop(0):
                yield answer
            return
        yield log_pb2.RepublishResponse(phase=log_pb2.REPUBLISH_PHASE_ASKING, after="person-s-1", streams_total=9)
        if self.cut_off:
            raise CommandFailed(Exit.UNAVAILABLE, "it is away")
        self.republished.append(method.removeprefix("republish "))


@pytest.fixture
def services(monkeypatch: pytest.MonkeyPatch) -> Services:
    found = Services()

    @asynccontextmanager
    async def connected(_identity: Any) -> AsyncIterator[Services]:
        yield found

    monkeypatch.setattr(views, "connected", connected)
    return found


@pytest.fixture
def at_a_terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], list[str]]:
    """Somebody is there, and answers so; gives what they were asked."""

    def answering(answer: bool) -> list[str]:
        asked: list[str] = []
        terminal = SimpleNamespace(isatty=lambda: True)
        monkeypatch.setattr(views, "sys", SimpleNamespace(stdin=terminal, stderr=terminal))

        def confirm(text: str, **_: Any) -> bool:
            asked.append(text)
            return answer

        monkeypatch.setattr("typer.confirm", confirm)
        return asked

    return answering


def run(*words: str) -> Result:
    return CliRunner().invoke(views.app, ["rebuild", *words])


def said(result: Result) -> str:
    return " ".join(result.stderr.split())


def test_decisions_that_change_wait_for_a_word_where_nobody_can_be_asked(services: Services) -> None:
    services.answers = [[decisions("a" * 16)]]

    ended = run("accreditation", "--foreign")

    assert ended.exit_code == int(Exit.UNCONFIRMED)
    assert "1 of 3 decisions would change" in ended.stdout + ended.stderr
    assert "Run `credence views rebuild accreditation --yes`" in said(ended)


def test_at_a_terminal_it_asks_and_confirms_the_very_list_that_was_shown(
    services: Services, at_a_terminal: Callable[[bool], list[str]]
) -> None:
    asked = at_a_terminal(True)
    services.answers = [[decisions("a" * 16)], [finds(waits=False, decisions=1), DONE]]

    ended = run("accreditation")

    assert ended.exit_code == Exit.OK
    assert asked == ["Switch, so that 1 decisions change?"]
    assert [request.confirmed for request in services.asked] == ["", "a" * 16]
    assert "accreditation serves enrolments generation 2; 3 targets are evaluated again." in said(ended)


def test_a_list_that_is_another_by_then_waits_again(
    services: Services, at_a_terminal: Callable[[bool], list[str]]
) -> None:
    at_a_terminal(True)
    services.answers = [[decisions("a" * 16)], [decisions("b" * 16)]]

    assert run("accreditation").exit_code == Exit.UNCONFIRMED


def test_whoever_says_no_leaves_it_waiting(services: Services, at_a_terminal: Callable[[bool], list[str]]) -> None:
    at_a_terminal(False)
    services.answers = [[decisions("a" * 16)]]

    assert run("accreditation").exit_code == Exit.UNCONFIRMED
    assert len(services.asked) == 1


def test_what_differs_for_no_reason_is_not_asked_about_and_ends_with_the_commands_that_help(
    services: Services, at_a_terminal: Callable[[bool], list[str]]
) -> None:
    asked = at_a_terminal(True)
    services.answers = [[finds(suspect=["enrolments"], decisions=1, changes=[CHANGE])]]

    ended = run("accreditation", "--all", "--yes")

    assert (ended.exit_code, asked) == (Exit.REFUSED, [])
    assert "`credence views rebuild accreditation --from-stores --yes`" in said(ended)
    assert "`credence views rebuild accreditation --accept-differences --yes`" in said(ended)


def test_what_an_accepted_history_does_not_hold_cannot_be_filled_from_any_store(services: Services) -> None:
    epochs = {"credence/enrolment": "beef"}
    services.answers = [[finds(suspect=["enrolments"], accepted_epochs=epochs)]]

    ended = run("accreditation", "--foreign", "--accept-epoch", "credence/enrolment=beef")

    assert ended.exit_code == Exit.REFUSED
    assert dict(services.asked[0].accept_epochs) == epochs
    assert "`credence views rebuild accreditation --accept-differences`" in said(ended)
    assert "--from-stores" not in said(ended)


def test_from_stores_has_those_publish_again_whom_the_service_hears(services: Services) -> None:
    services.topics = ("credence.mentoring.v1", "credence.enrolment.v1")
    services.answers = [[DONE]]

    assert run("accreditation", "--foreign", "--from-stores").exit_code == Exit.OK
    assert services.republished == ["enrolment", "mentoring"]


def test_from_stores_is_nothing_to_a_service_that_hears_nobody_and_says_so(services: Services) -> None:
    services.answers = [[DONE]]

    ended = run("enrolment", "--all", "--from-stores")

    assert ended.exit_code == Exit.OK
    assert "enrolment listens to no topic" in said(ended)


def test_interrupted_while_others_publish_again_it_says_what_is_marked(services: Services) -> None:
    services.topics = ("credence.enrolment.v1",)
    services.cut_off = True

    ended = run("accreditation", "--foreign", "--from-stores")

    assert isinstance(ended.exception, CommandFailed)
    assert "enrolment: marked up to person-s-1, and that goes out." in said(ended)
    assert services.asked == []
