"""What the clients do: realistic mixes of commands, in rounds, each round on ids of its own.

A round is drawn from the seed, the writer and its number alone, so that a seed sends the same commands again. What a
round commands is legal whatever befell it on the way: a refusal is a finding.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from credence.accreditation.v1 import assessments_pb2 as work
from credence.enrolment.v1 import attendance_pb2, cohorts_pb2, enrolments_pb2, people_pb2
from credence.mentoring.v1 import matches_pb2, mentors_pb2
from credence_cli.identity import Identity
from tests.reliability.clients import UNPACED, Client, Pace, Stopped
from tests.reliability.history import History
from tests.reliability.rig import Rig
from tests.system.platform import ADMISSIONS, CONFLICT, IMPORTER, PRIVACY_OFFICER, STORED, outcomes_of, settled, told
from tests.system.story import ABSENT, PRESENT, ago

LATE = attendance_pb2.ATTENDANCE_STATE_LATE
COURSE, BEGAN = "r14-commissioners-course", 70
SESSIONS = ("s1", "s2", "s3", "s4", "s5", "s6")
LEARNERS = 20
CROWD, PLACES = 9, 4
MEETINGS = 8
RIVALS = 50
TWINS = 20
GOING = 3
MENTORS = 3
TROUBLED_SECONDS = 1.0
# What stands in the store under the keys of those who are erased, and must be readable nowhere.
PERSONAL = {"the name": 'Zoë "Traceless" O\'Sample', "the portrait": "Zoë's portrait, which nobody may keep"}
HELD = 300  # days ago: when the mentors' seminars and the mentoring began


@dataclass
class Writers:
    """All clients of a run. `troubles`: what sending again did not heal, and answers that must not be; `erasures`: who
    was erased, acknowledged."""

    rig: Rig
    history: History
    run: str
    seed: int
    pace: Pace = UNPACED
    over: threading.Event = field(default_factory=threading.Event)
    troubles: list[str] = field(default_factory=list)
    mentors: tuple[str, ...] = ()
    erasures: list[str] = field(default_factory=list)
    _threads: list[threading.Thread] = field(default_factory=list)
    _through: set[str] = field(default_factory=set)  # the writers that came through a whole round
    _last: threading.Event = field(default_factory=threading.Event)

    def client(self, writer: str, number: int) -> Client:
        return Client(self.rig, self.history, random.Random(f"{self.seed}/{writer}/{number}"), self.over, self.pace)

    def start(self, rounds: Sequence[Callable[[Client, str], None]]) -> None:
        """One writer a round, each repeating its round until `stop`."""
        for number, each in enumerate(rounds):
            name = f"{each.__name__}-{number}".replace("_", "-")
            thread = threading.Thread(target=self._repeat, args=(each, name), name=name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def _repeat(self, each: Callable[[Client, str], None], writer: str) -> None:
        number = 0
        while not self.over.is_set() and not (self._last.is_set() and writer in self._through):
            try:
                each(self.client(writer, number), f"{self.run}-{writer}-{number}")
                self._through.add(writer)
            except Stopped:
                return
            except Exception as error:  # noqa: BLE001 - told in the report; the other rounds go on
                self.troubles.append(f"{writer}, round {number}: {type(error).__name__}: {error}")
                self.over.wait(TROUBLED_SECONDS)
            number += 1

    def finish(self, seconds: float) -> None:
        """Waits until every writer came through a whole round, to the refusals at the end of some; who did begins no
        other, which would keep the rest waiting for their turn."""
        self._last.set()
        with suppress(AssertionError):  # what is missing then is told as too little
            settled("a round of each", lambda: len(self._through) == len(self._threads), seconds=seconds)

    def stop(self) -> None:
        """The rounds under way end at their next try, their last commands unknown to their clients."""
        self.over.set()
        for thread in self._threads:
            thread.join()

    # ---- the rounds

    def course(self, client: Client, name: str) -> None:
        """A cohort of the commissioners' course: registered, enrolled, marked, corrected, assessed."""
        rng = client.rng
        cohort, people = f"c-{name}", [f"p{n}-{name}" for n in range(LEARNERS)]
        opens(client, cohort, COURSE, "ipc", BEGAN)
        registers(client, people)
        # The token that names every learner's enrolment: a later batch's names only those it touched.
        token = enrols(client, cohort, people).token
        marks = [mark(cohort, p, s, PRESENT) for p in people for s in SESSIONS if rng.random() < 0.6]
        rng.shuffle(marks)
        answer = stored(client, attendance_pb2.PostAttendanceRequest(provider_id="ipc", rows=marks), IMPORTER)
        corrected = [
            mark(
                cohort, row.person_id, row.session_id, rng.choice((LATE, ABSENT)),
                replaces=given.outcome.version, reason_code="wrong-learner",
            )
            for row, given in zip(marks, answer.answers, strict=True)
            if rng.random() < 0.15
        ]  # fmt: skip
        if corrected:
            stored(client, attendance_pb2.PostAttendanceRequest(provider_id="ipc", rows=corrected), IMPORTER)
        steps = [step for p in people for step in _project(cohort, p, rng)]
        if steps:
            stored(client, work.RecordAssessmentsRequest(rows=steps, token=token), IMPORTER)
        leaving = rng.sample(people, 2)
        withdraws(client, cohort, leaving, rng.randint(1, 30))

    def queue(self, client: Client, name: str) -> None:
        """More people than places, in a hurry; some leave, and others move up."""
        cohort, people = f"c-{name}", [f"p{n}-{name}" for n in range(CROWD)]
        opens(client, cohort, COURSE, "ipc", BEGAN, capacity=PLACES)
        registers(client, people)
        client.rng.shuffle(people)
        for start in range(0, CROWD, 3):
            enrols(client, cohort, people[start : start + 3])
        withdraws(client, cohort, client.rng.sample(people, 3), 1)

    def mentees(self, client: Client, name: str) -> None:
        """A shortlist, a choice, and meetings that both sides confirm."""
        cohort, people = f"c-{name}", [f"p{n}-{name}" for n in range(3)]
        opens(client, cohort, "r7-mentor-plus", "national-college", HELD)
        registers(client, people)
        token = enrols(client, cohort, people, HELD).token
        offers = [
            matches_pb2.OfferShortlist(command_id=f"offer-{p}", cohort_id=cohort, person_id=p, mentor_ids=self.mentors)
            for p in people
        ]
        stored(client, matches_pb2.OfferShortlistsRequest(rows=offers, token=token), ADMISSIONS)
        chosen = {p: client.rng.choice(self.mentors) for p in people}
        choices = [
            matches_pb2.ChooseMentor(
                command_id=f"choose-{p}", cohort_id=cohort, person_id=p, mentor_id=mentor, matched_on=ago(HELD)
            )
            for p, mentor in chosen.items()
        ]
        stored(client, matches_pb2.ChooseMentorsRequest(rows=choices), IMPORTER)
        for p, mentor in chosen.items():
            held = client.rng.randint(1, MEETINGS)
            for side, who in (
                ("MENTEE", Identity.of("learner", person=p)),
                ("MENTOR", Identity.of("mentor", person=mentor)),
            ):
                rows = [
                    matches_pb2.ConfirmMeeting(
                        command_id=f"{side.lower()}-{p}-{n}", cohort_id=cohort, person_id=p, meeting_id=f"m{n}",
                        on=ago(HELD - 30 * n), side=matches_pb2.Side.Value(f"SIDE_{side}"),
                    )
                    for n in range(1, held + 1)
                ]  # fmt: skip
                stored(client, matches_pb2.ConfirmMeetingsRequest(rows=rows), who)

    def rivals(self, client: Client, name: str) -> None:
        """Fifty writers, one stream."""
        person = f"p-{name}"
        registers(client, [person])

        def one(n: int) -> None:
            rival = Client(client.rig, client.history, random.Random(f"{name}/{n}"), client.over, client.pace)
            row = people_pb2.NamePerson(command_id=f"name-{name}-{n}", person_id=person, name=f"Sample Learner {n:02}")
            stored(rival, people_pb2.NamePeopleRequest(rows=[row]), ADMISSIONS)

        with ThreadPoolExecutor(RIVALS) as pool:
            list(pool.map(one, range(RIVALS)))

    def twins(self, client: Client, name: str) -> None:
        """The same call twenty times at once; then its ids again with another body."""

        def request(surname: str) -> people_pb2.RegisterPeopleRequest:
            rows = [
                people_pb2.RegisterPerson(command_id=f"reg-{n}-{name}", person_id=f"p{n}-{name}", name=surname)
                for n in range(3)
            ]
            return people_pb2.RegisterPeopleRequest(rows=rows)

        def one(n: int) -> None:
            stored(
                Client(client.rig, client.history, random.Random(f"{name}/{n}"), client.over, client.pace),
                request("Sample A"),
                IMPORTER,
            )

        with ThreadPoolExecutor(TWINS) as pool:
            list(pool.map(one, range(TWINS)))
        # Not in the history: these ids are the first body's.
        aside = Client(client.rig, History(), client.rng, client.over)
        other = outcomes_of(aside.sends(request("Sample B"), IMPORTER))
        if any(outcome.status != CONFLICT for outcome in other):
            raise AssertionError(f"the same id with another body: {told(other)}")

    def erased(self, client: Client, name: str) -> None:
        """People who come with a name and a portrait, learn, are erased, and are marked and named once more."""
        cohort, people = f"c-{name}", [f"p{n}-{name}" for n in range(GOING)]
        opens(client, cohort, COURSE, "ipc", BEGAN)
        registers(client, people)
        enrols(client, cohort, people)
        # Not in the history: the same again is refused once they are erased.
        aside = Client(client.rig, History(), client.rng, client.over, client.pace)
        names = people_pb2.NamePeopleRequest(
            rows=[people_pb2.NamePerson(command_id=f"name-{p}", person_id=p, name=PERSONAL["the name"]) for p in people]
        )
        stored(aside, names, ADMISSIONS)
        portraits = [
            mentors_pb2.RegisterMentor(
                command_id=f"mentor-{p}", person_id=p, background="children", sector="public", in_post=True,
                employer_id="sample-council", pen_portrait=PERSONAL["the portrait"],
            )
            for p in people
        ]  # fmt: skip
        stored(aside, mentors_pb2.RegisterMentorsRequest(rows=portraits), ADMISSIONS)
        for sessions in (SESSIONS[:2], SESSIONS[2:]):
            marks = [mark(cohort, p, s, PRESENT) for p in people for s in sessions]
            stored(client, attendance_pb2.PostAttendanceRequest(provider_id="ipc", rows=marks), IMPORTER)
            rows = [
                people_pb2.ErasePerson(command_id=f"erase-{p}-{sessions[0]}", person_id=p, reason_code="person-asked")
                for p in people
            ]
            stored(client, people_pb2.ErasePeopleRequest(rows=rows), PRIVACY_OFFICER)
        self.erasures += people
        for row in names.rows:
            row.command_id += "-again"
        answers = told(outcomes_of(client.sends(names, ADMISSIONS)))
        if set(answers) != {"person-erased"}:
            raise AssertionError(f"named after the erasure: {answers}")

    # ---- before the faults

    def prepare(self) -> None:
        """Three mentors in standing, whom the rounds' mentees may choose."""
        client = self.client("prepare", 0)
        cohort = seminars(self.run)
        mentors = [f"mentor{n}-{self.run}" for n in range(MENTORS)]
        opens(client, cohort, "r7-mentor-standing", "national-college", HELD)
        registers(client, mentors)
        enrols(client, cohort, mentors, HELD)
        marks = [mark(cohort, m, s, PRESENT) for m in mentors for s in ("induction", "support-1", "support-2")]
        request = attendance_pb2.PostAttendanceRequest(provider_id="national-college", rows=marks)
        token = stored(client, request, IMPORTER).token
        steps = [
            work.RecordAssessment(
                command_id=f"{name}-{m}", cohort_id=cohort, person_id=m, component_id="accreditation", **step
            )
            for m in mentors
            for name, step in _steps(work.RESULT_PASSED)
        ]
        stored(client, work.RecordAssessmentsRequest(rows=steps, token=token), IMPORTER)
        rows = [
            mentors_pb2.RegisterMentor(
                command_id=f"mentor-{m}", person_id=m, background="children", sector="public", in_post=True,
                employer_id="sample-council", pen_portrait="A sample pen portrait.",
            )
            for m in mentors
        ]  # fmt: skip
        stored(client, mentors_pb2.RegisterMentorsRequest(rows=rows), ADMISSIONS)
        for mentor in mentors:
            listing = mentors_pb2.ListMentorsRequest(person_id=mentor, in_standing_only=True)
            settled(
                f"{mentor} is in standing",
                lambda listing=listing: len(self.rig.ask("mentoring-1", listing, ADMISSIONS).mentors) == 1,  # type: ignore[misc]
                seconds=60,
            )
        self.mentors = tuple(mentors)


def seminars(run: str) -> str:
    """The cohort in which the run's mentors came to their standing."""
    return f"c-seminars-{run}"


def stored(client: Client, request: Any, who: Identity) -> Any:
    """Sends a batch all of which must be stored, or be so already."""
    answer = client.sends(request, who)
    outcomes = outcomes_of(answer)
    wrong = [outcome for outcome in outcomes if outcome.status not in STORED]
    assert not wrong, f"{type(request).__name__}: {told(wrong)[:3]} {wrong[0].stream} {wrong[0].message}"
    return answer


def opens(client: Client, cohort: str, programme: str, provider: str, began: int, **more: Any) -> None:
    row = cohorts_pb2.OpenCohort(
        command_id=f"open-{cohort}", cohort_id=cohort, programme_id=programme, programme_version=1,
        starts_on=ago(began), provider_id=provider, waiting_list=True, **more,
    )  # fmt: skip
    stored(client, cohorts_pb2.OpenCohortsRequest(rows=[row]), ADMISSIONS)


def registers(client: Client, people: Sequence[str]) -> None:
    rows = [people_pb2.RegisterPerson(command_id=f"reg-{p}", person_id=p) for p in people]
    stored(client, people_pb2.RegisterPeopleRequest(rows=rows), IMPORTER)


def enrols(client: Client, cohort: str, people: Sequence[str], began: int = BEGAN) -> Any:
    rows = [
        enrolments_pb2.RequestEnrolment(command_id=f"enrol-{p}", cohort_id=cohort, person_id=p, effective_on=ago(began))
        for p in people
    ]
    return stored(client, enrolments_pb2.RequestEnrolmentsRequest(rows=rows), IMPORTER)


def withdraws(client: Client, cohort: str, people: Sequence[str], days_ago: int) -> None:
    rows = [
        enrolments_pb2.WithdrawEnrolment(
            command_id=f"leave-{p}", cohort_id=cohort, person_id=p, effective_on=ago(days_ago), reason_code="moved"
        )
        for p in people
    ]
    stored(client, enrolments_pb2.WithdrawEnrolmentsRequest(rows=rows), IMPORTER)


def mark(cohort: str, person: str, session: str, state: Any, **more: Any) -> attendance_pb2.AttendanceRow:
    again = "again-" if more else ""
    return attendance_pb2.AttendanceRow(
        command_id=f"{again}mark-{person}-{session}", cohort_id=cohort, person_id=person, session_id=session,
        value=attendance_pb2.AttendanceValue(state=state), **more,
    )  # fmt: skip


def _project(cohort: str, person: str, rng: random.Random) -> Iterator[work.RecordAssessment]:
    if rng.random() < 0.3:
        return
    referred = rng.random() < 0.3
    yield from taken(cohort, person, [work.RESULT_REFERRED, work.RESULT_PASSED] if referred else [work.RESULT_PASSED])


def taken(cohort: str, person: str, results: Sequence[work.Result.ValueType]) -> Iterator[work.RecordAssessment]:
    """The course's project, with these results one after the other; none: it is not even registered for."""

    def step(name: str, **more: Any) -> work.RecordAssessment:
        return work.RecordAssessment(
            command_id=f"{name}-{person}", cohort_id=cohort, person_id=person, component_id="project", **more
        )

    if results:
        yield step("opt-in", register=work.RecordAssessment.Register())
    for n, result in enumerate(results):
        for name, taken_ in _steps(result, days_ago=20 - n):
            yield step(f"{name}-{n}", **taken_)


def _steps(result: work.Result.ValueType, days_ago: int = 20) -> Iterator[tuple[str, dict[str, Any]]]:
    on = ago(days_ago)
    yield "submit", {"submit": work.RecordAssessment.Submit(submitted_on=on)}
    yield "assess", {"assess": work.RecordAssessment.Assess(result=result, assessed_on=on)}
