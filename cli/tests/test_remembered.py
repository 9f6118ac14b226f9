"""The token that the last write left: a platform that was reset or restored since is asked again without it.

On a service in this process that refuses it as real ones do (`servicekit.errors`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from grpc_status import rpc_status

from cli.tests.running import Home, Ran
from cli.tests.stand_in import serving
from credence.accreditation.v1 import assessments_pb2
from credence.common.v1 import outcome_pb2, programme_pb2
from credence.enrolment.v1 import catalogue_pb2
from credence_cli import state
from credence_cli.embedded.development_secrets import ensure_development_secrets
from servicekit import errors

NOT_CAUGHT_UP = errors.Unavailable("ask again, with a longer deadline if this goes on", reason="not-caught-up")
NO_TOKEN = errors.InvalidArgument([("token", "not a token of this platform: pass back what a command answered")])


@dataclass
class Platform:
    """Answers in `pages`, each with one programme; refuses whatever carries a token with `refusal`."""

    refusal: errors.RpcFailure | None = None
    without_a_token: errors.RpcFailure | None = None
    pages: int = 1
    tokens: list[str] = field(default_factory=list)
    address: str = ""

    def _admit(self, request: Any, context: Any) -> None:
        self.tokens.append(request.token)
        refusal = self.refusal if request.token else self.without_a_token
        if refusal is not None:
            context.abort_with_status(rpc_status.to_status(refusal.status()))

    def list_programmes(self, request: Any, context: Any) -> Any:
        self._admit(request, context)
        page = int(request.page_token or 1)
        following = str(page + 1) if page < self.pages else ""
        programmes = [programme_pb2.Programme(id=f"p{page}")]
        return catalogue_pb2.ListProgrammesResponse(programmes=programmes, next_page_token=following)

    def record_assessments(self, request: Any, context: Any) -> Any:
        self._admit(request, context)
        accepted = outcome_pb2.Outcome(status=outcome_pb2.OUTCOME_STATUS_ACCEPTED)
        return outcome_pb2.BatchResponse(outcomes=[accepted], token="new")


@pytest.fixture
def platform() -> Iterator[Platform]:
    platform = Platform()
    methods = {"ListProgrammes": platform.list_programmes, "RecordAssessments": platform.record_assessments}
    with serving(methods, catalogue_pb2.DESCRIPTOR, assessments_pb2.DESCRIPTOR) as (port, _):
        platform.address = f"127.0.0.1:{port}"
        yield platform


@pytest.fixture
def user(platform: Platform, tmp_path: Path) -> User:
    home = Home(tmp_path)
    ensure_development_secrets(tmp_path / "stack" / "secrets")
    return User(home, {f"CREDENCE_{name}": platform.address for name in ("ENROLMENT", "ACCREDITATION", "MENTORING")})


@dataclass
class User:
    """Somebody with a home, and three services at one address."""

    home: Home
    env: dict[str, str]

    @property
    def kept(self) -> Path:
        return self.home.folder / "last-token.json"

    def call(self, *words: str, exits: int = 0) -> Ran:
        return self.home.call(*words, exits=exits, **self.env)

    def keeps(self, token: str) -> None:
        services = {name.removeprefix("CREDENCE_").lower(): address for name, address in self.env.items()}
        self.kept.write_text(json.dumps({"services": services, "token": token}))


def listed(shown: Any) -> list[str]:
    return [programme["id"] for programme in shown["programmes"]]


@pytest.mark.parametrize(
    ("refusal", "why"),
    [
        (NOT_CAUGHT_UP, "it is behind (`credence status`), or was restored or emptied since"),
        (NO_TOKEN, "its token is of another platform, or of one that has other keys now"),
    ],
    ids=["not there any more", "other keys"],
)
def test_a_token_that_a_platform_knows_no_more_is_forgotten_and_the_question_asked_again(
    user: User, platform: Platform, refusal: errors.RpcFailure, why: str
) -> None:
    user.keeps("gone")
    platform.refusal = refusal
    ran = user.call("catalogue", "list", "--json")
    assert listed(ran.doc) == ["p1"]
    assert ran.told == (
        f"enrolment does not know what was last written from here: {why}. It is forgotten, and this asked again "
        "without waiting for it."
    )
    assert platform.tokens == ["gone", ""]
    assert not user.kept.exists()
    assert user.call("catalogue", "list").err == ""


def test_all_pages_are_asked_for_without_it(user: User, platform: Platform) -> None:
    user.keeps("gone")
    platform.refusal, platform.pages = NOT_CAUGHT_UP, 3
    ran = user.call("catalogue", "list", "--json")
    assert listed(ran.doc) == ["p1", "p2", "p3"]
    assert platform.tokens == ["gone", "", "", ""]
    assert ran.told


def test_a_command_is_sent_again_without_it_and_leaves_its_own(user: User, platform: Platform) -> None:
    user.keeps("gone")
    platform.refusal = NOT_CAUGHT_UP
    assert "accepted" in user.call("assess", "register", "c", "p", "project").out
    assert platform.tokens == ["gone", ""]
    assert json.loads(user.kept.read_text())["token"] == "new"


def test_what_is_refused_without_a_token_too_is_told_and_asked_no_third_time(user: User, platform: Platform) -> None:
    user.keeps("gone")
    platform.refusal, platform.without_a_token = NO_TOKEN, errors.NotFound("programme")
    assert user.call("catalogue", "list", exits=3).err.splitlines()[-1] == "no such programme"
    assert platform.tokens == ["gone", ""]


@pytest.mark.parametrize(
    ("refusal", "exits"),
    [
        (errors.Unavailable("MongoDB is away"), 6),
        (errors.InvalidArgument([("programme_id", "is no id"), ("page_token", "is not a token of this query")]), 2),
    ],
    ids=["away", "another field"],
)
def test_whatever_else_is_refused_leaves_it_as_it_is(
    user: User, platform: Platform, refusal: errors.RpcFailure, exits: int
) -> None:
    user.keeps("good")
    platform.refusal = refusal
    user.call("catalogue", "list", exits=exits)
    assert platform.tokens == ["good"]
    assert user.kept.exists()


def test_where_that_is_not_it_what_to_do_is_what_the_command_can(user: User, platform: Platform) -> None:
    platform.without_a_token = NOT_CAUGHT_UP
    told = user.call("catalogue", "list", exits=6).err.splitlines()[-1]
    assert (
        told == "what was just written has not arrived there yet: run it again (`credence status` says what is behind)"
    )


def test_a_newer_token_of_another_command_is_not_forgotten(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CREDENCE_HOME", str(tmp_path))
    state.remember("newer")
    state.forget("gone")
    assert state.last_token() == "newer"
    state.forget("newer")
    state.forget("newer")
    assert state.last_token() == ""


def test_a_token_is_kept_for_the_platform_that_gave_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CREDENCE_HOME", str(tmp_path))
    monkeypatch.setenv("CREDENCE_ENROLMENT", "elsewhere:443")
    state.remember("of-the-stack", {"enrolment": "127.0.0.1:19092"})
    assert state.last_token() == ""
