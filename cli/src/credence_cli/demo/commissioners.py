"""R14, the commissioners' course: registers, standings, a project, 20 credits, corrections, a review, a certificate."""

from __future__ import annotations

from datetime import UTC, datetime

from credence.accreditation.v1 import assessments_pb2 as work
from credence.accreditation.v1 import standings_pb2 as pb
from credence.enrolment.v1 import attendance_pb2, enrolments_pb2, enrolments_pb2_grpc, people_pb2, people_pb2_grpc
from credence_cli.commands.enrolments import render_enrolments
from credence_cli.commands.standing import render_lines, render_trees
from credence_cli.demo.stage import ADMISSIONS, BODY, Stage
from credence_cli.output import out, table
from credence_cli.registers import COLUMNS

PROGRAMME = "r14-commissioners-course"
CREDIT = "commissioning-credit"
PROVIDER = "ipc"
OTHER_PROVIDER = "skills-agency"
PLACES = 6
STARTED_DAYS_AGO = 70


async def play(stage: Stage) -> None:
    """The whole of R14 with one cohort of six places and seven who want one."""
    cohort = stage.id("com")
    people = [stage.id(f"sample-{n}") for n in range(1, PLACES + 2)]
    learner, waiting = people[0], people[-1]

    stage.scene("R14: a cohort of six, and one too many")
    await _open_and_enrol(stage, cohort, people, waiting)
    await _registers(stage, cohort, people, waiting)
    await _project(stage, cohort, learner)
    await _corrections(stage, cohort, learner)
    await _confirmed(stage, cohort, learner)
    await _a_place_is_freed(stage, cohort, people[3], waiting)


async def _open_and_enrol(stage: Stage, cohort: str, people: list[str], waiting: str) -> None:
    started = stage.ago(STARTED_DAYS_AGO)
    stage.step(
        f"The cohort began ten weeks ago, so all its sessions were held. It has {PLACES} places.",
        f"cohort open {cohort} --programme {PROGRAMME} --starts-on {started} --provider {PROVIDER} "
        f"--capacity {PLACES} --waiting-list",
    )
    await stage.open_cohort(cohort, PROGRAMME, started, PROVIDER, PLACES)
    enrolled = stage.ago(STARTED_DAYS_AGO + 20)
    stage.step(
        f"{len(people)} people ask for a place; the last one waits.", f"enrol {cohort} {people[0]} ... --on {enrolled}"
    )
    found = await stage.enrol(cohort, people, enrolled, provider=PROVIDER)
    render_enrolments(found)
    status = {e.person_id: e.status for e in found}
    stage.expect(status[waiting] == enrolments_pb2.ENROLMENT_STATUS_WAITING, "the seventh does not wait")
    placed = [p for p, s in status.items() if s == enrolments_pb2.ENROLMENT_STATUS_PLACED]
    stage.expect(len(placed) == PLACES, f"{len(placed)} have a place, not {PLACES}")


async def _registers(stage: Stage, cohort: str, people: list[str], waiting: str) -> None:
    stage.scene("R14: registers, however messy and however often")
    stage.step(
        "The provider gets the registers of the first two sessions to fill in, with its own learner references.",
        f"attendance template {cohort} --provider {PROVIDER} --session s1 --session s2 --out register.csv",
    )
    rows = await stage.template(cohort, PROVIDER, ["s1", "s2"])
    file = stage.save_template("template.csv", rows)
    some = [(r.session_id, r.on, r.person_id, r.learner_reference) for r in rows[:3]]
    table("", ("session", "on", "person", "reference"), some)
    out.print(f"  ... {len(rows)} lines in {file}", markup=False)
    stage.expect(len(rows) == 2 * PLACES, f"the template has {len(rows)} lines, not {2 * PLACES}")

    stage.step(
        "It comes back as partners fill it in: letters for states, semicolons, blank lines, a stranger, "
        "one who only waits, a session of nobody, a state that is none.",
        f"attendance post register-1.csv --provider {PROVIDER}",
    )
    first = stage.save("register-1.csv", _messy(cohort, people, waiting))
    _, answers = await stage.post(PROVIDER, first)
    refused = [a.outcome.code for a in answers if a.outcome.code]
    wanted = ["line-unreadable", "waiting", "not-enrolled", "not-found"]
    stage.expect(sorted(refused) == sorted(wanted), f"refused for {refused}, not {wanted}")

    stage.step("The same file again changes nothing: every line is answered with what stands.")
    _, answers = await stage.post(PROVIDER, first, quiet=True)
    stage.expect(not any(a.outcome.status == 1 for a in answers), "a repeated line was stored again")

    stage.step(
        "Another provider posts into the same session: for it, that session does not exist.",
        f"attendance post other.csv --provider {OTHER_PROVIDER}",
    )
    header = "cohort,session,person,state\n"
    other = stage.save("other.csv", f"{header}{cohort},s1,{people[0]},absent\n")
    _, answers = await stage.post(OTHER_PROVIDER, other)
    stage.expect([a.outcome.code for a in answers] == ["not-found"], "another provider reached the session")

    stage.step("A different value for a line that is recorded is a conflict, and shows what stands.")
    again = stage.save("conflict.csv", f"{header}{cohort},s1,{people[0]},absent\n")
    _, answers = await stage.post(PROVIDER, again)
    stage.expect([a.outcome.code for a in answers] == ["value-differs"], "a different value was taken")


def _messy(cohort: str, people: list[str], waiting: str) -> str:
    """Two sessions as a partner's spreadsheet writes them."""
    lines = ["Cohort ;Session;Your reference;Learner ID;Attendance;Mins;Excuse code"]
    states = ["P", "present", "Late", "partial", "excused", "A"]
    minutes = {"partial": "120"}
    excuses = {"excused": "illness"}
    for session in ("s1", "S2"):
        for i, state in enumerate(states, start=1):
            # The second session names learners by the provider's own references.
            reference, person = (f"REF-{i:03}", "") if session == "S2" else ("", people[i - 1])
            extra = f"{minutes.get(state, '')};{excuses.get(state, '')}"
            lines.append(f"{cohort};{session};{reference};{person};{state};{extra}")
        lines.append("")
    lines += [
        f"{cohort};s1;;{people[1]};maybe;;",
        f"{cohort};s1;;{waiting};present;;",
        f"{cohort};s1;;nobody-we-know;present;;",
        f"{cohort};s99;;{people[0]};present;;",
    ]
    return "\n".join(lines) + "\n"


async def _project(stage: Stage, cohort: str, learner: str) -> None:
    stage.scene("R14: why not yet, and then the project")
    stage.step("What the learner sees after two sessions: what counts, what is missing, what is still possible.",
               f"standing explain {cohort} {learner}")  # fmt: skip
    render_trees(await stage.standing(cohort, learner))
    stage.step("The register of a third session: half of the six half-days, as the course asks.")
    text = f"{','.join(COLUMNS)}\n{cohort},s3,,,,{learner},,present,,,,,,\n"
    await stage.post(PROVIDER, stage.save("register-2.csv", text))

    steps: list[tuple[str, work.RecordAssessment, str]] = [
        ("The learner opts in to accreditation.", _register(), f"assess register {cohort} {learner} project"),
        ("The project is submitted.", _submit(), f"assess submit {cohort} {learner} project"),
        ("The assessor refers it back.", _assess(work.RESULT_REFERRED),
         f"assess mark {cohort} {learner} project referred --body {BODY}"),
        ("It is submitted again ...", _submit(), f"assess submit {cohort} {learner} project"),
        ("... and passed.", _assess(work.RESULT_PASSED),
         f"assess mark {cohort} {learner} project passed --body {BODY}"),
    ]  # fmt: skip
    for text, row, command in steps:
        stage.step(text, command)
        await stage.assess(cohort, learner, row, command)
    stage.step("20 master's-level credits, provisional, and the tree that earned them.",
               f"standing explain {cohort} {learner}")  # fmt: skip
    await stage.award(cohort, learner, CREDIT, pb.AWARD_STATE_PROVISIONAL)
    render_trees(await stage.standing(cohort, learner))


def _register() -> work.RecordAssessment:
    return work.RecordAssessment(component_id="project", register=work.RecordAssessment.Register())


def _submit() -> work.RecordAssessment:
    return work.RecordAssessment(component_id="project", submit=work.RecordAssessment.Submit())


def _assess(result: work.Result.ValueType) -> work.RecordAssessment:
    mark = "62" if result == work.RESULT_PASSED else "41"
    return work.RecordAssessment(component_id="project", assess=work.RecordAssessment.Assess(result=result, mark=mark))


async def _corrections(stage: Stage, cohort: str, learner: str) -> None:
    stage.scene("R14: corrections, while the credit is provisional")
    before = datetime.now(UTC).isoformat()
    version = await _correct(stage, cohort, learner, "absent", await _current(stage, cohort, learner))
    await stage.award(cohort, learner, CREDIT, pb.AWARD_STATE_NOT_MET)
    out.print("   The provisional credit was taken back by itself:")
    render_lines(await stage.standing(cohort, learner))
    stage.step("What was known a moment ago is still there to be asked for.",
               f"standing show {cohort} {learner} --known-at {before}")  # fmt: skip
    render_lines(await stage.standing(cohort, learner, known_at=before))
    await _correct(stage, cohort, learner, "present", version)
    await stage.award(cohort, learner, CREDIT, pb.AWARD_STATE_PROVISIONAL)
    out.print("   And with the second correction it is there again:")
    render_lines(await stage.standing(cohort, learner))


async def _current(stage: Stage, cohort: str, learner: str) -> int:
    """The version of the learner's mark for the third session."""
    rows = await stage.template(cohort, PROVIDER, ["s3"])
    return next(r.current.version for r in rows if r.person_id == learner)


async def _correct(stage: Stage, cohort: str, learner: str, state: str, replaces: int) -> int:
    """Posts a correction and gives the version of the value that now stands."""
    stage.step(f"The provider corrects session s3 to {state}, naming the value it replaces and why.")
    header = "cohort,session,person,state,replaces,reason\n"
    line = f"{cohort},s3,{learner},{state},{replaces},wrong-learner\n"
    file = stage.save(f"correction-{replaces}.csv", header + line)
    _, answers = await stage.post(PROVIDER, file)
    stage.expect(answers[0].current.value.state == _STATES[state], "the correction does not stand")
    return answers[0].current.version


_STATES = {"present": attendance_pb2.ATTENDANCE_STATE_PRESENT, "absent": attendance_pb2.ATTENDANCE_STATE_ABSENT}


async def _confirmed(stage: Stage, cohort: str, learner: str) -> None:
    stage.scene("R14: the board confirms; the certificate; a correction that comes too late")
    stage.step("Before the board, a certificate is not due.")
    award = await stage.award(cohort, learner, CREDIT, pb.AWARD_STATE_PROVISIONAL)
    stage.expect(award.certificate.state == pb.CERTIFICATE_STATE_NOT_DUE, "a certificate is due before the board")
    out.print(f"   certificate: not due ({award.certificate.reason})", markup=False)

    stage.step("The awarding body confirms.", f"board confirm {cohort} {learner} {CREDIT} --body {BODY}")
    await stage.confirm(cohort, learner, CREDIT)
    award = await stage.award(cohort, learner, CREDIT, pb.AWARD_STATE_CONFIRMED)
    stage.expect(award.certificate.state == pb.CERTIFICATE_STATE_BLOCKED, "a certificate without a name is not blocked")
    out.print(f"   certificate: blocked ({award.certificate.reason})", markup=False)

    stage.step("The holder's name is put on file: now the certificate is due.", f'name {learner} "Sample Learner 01"')
    people = stage.client.stub(people_pb2_grpc.PeopleServiceStub, "enrolment")
    naming = people_pb2.NamePeopleRequest(rows=[people_pb2.NamePerson(person_id=learner, name="Sample Learner 01")])
    stage.report(await stage.client.call(people.NamePeople, naming, identity=ADMISSIONS), [learner])
    award = await stage.award(cohort, learner, CREDIT, pb.AWARD_STATE_CONFIRMED)
    stage.expect(award.certificate.state == pb.CERTIFICATE_STATE_DUE, "the certificate is not due")
    render_lines(await stage.standing(cohort, learner))

    await _correct(stage, cohort, learner, "absent", await _current(stage, cohort, learner))
    award = await stage.award(cohort, learner, CREDIT, pb.AWARD_STATE_UNDER_REVIEW)
    out.print(
        "   Confirmed credit is not taken back by a correction: it opened a review that the awarding body decides.",
        markup=False,
    )
    out.print(f"   [dim]$ credence board reviews --body {BODY}[/]")
    render_lines(await stage.standing(cohort, learner))


async def _a_place_is_freed(stage: Stage, cohort: str, leaver: str, waiting: str) -> None:
    stage.scene("R14: a freed place")
    stage.step(f"{leaver} leaves; who waited has the place.", f"withdraw {cohort} {leaver} --reason changed-job")
    stub = stage.client.stub(enrolments_pb2_grpc.EnrolmentServiceStub, "enrolment")
    row = enrolments_pb2.WithdrawEnrolment(cohort_id=cohort, person_id=leaver, reason_code="changed-job")
    request = enrolments_pb2.WithdrawEnrolmentsRequest(rows=[row])
    stage.report(await stage.client.call(stub.WithdrawEnrolments, request, identity=ADMISSIONS), [leaver])
    found = await stage.until_placed(cohort, waiting)
    render_enrolments(found)
