"""`credence attendance`: a partner's registers, from the template to the read-back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from credence.common.v1 import outcome_pb2
from credence.enrolment.v1 import attendance_pb2 as pb
from credence.enrolment.v1 import attendance_pb2_grpc
from credence_cli import outcomes
from credence_cli.client import Client, connected
from credence_cli.command import Json, run
from credence_cli.exits import CommandFailed, Exit
from credence_cli.files import keep_what_is_there, read_sheet_bytes, write_text
from credence_cli.identity import Identity
from credence_cli.limits import ROWS_MAX
from credence_cli.output import out, say, show, table, write
from credence_cli.progress import Phases
from credence_cli.registers import RegisterRow, read_register, value_words, write_template
from credence_cli.spreadsheet import SheetUnreadable
from credence_cli.state import last_token, remember

app = typer.Typer(help="Registers: get one to fill in, post it, correct it, read it back.", no_args_is_help=True)


Provider = Annotated[str, typer.Option("--provider", "-p", help="Whose register: the provider's id.")]
Cohort = Annotated[str, typer.Argument(help="The cohort's id.")]


def _identity(provider: str) -> Identity:
    return Identity.of("provider", providers=[provider])


def stub(client: Client) -> attendance_pb2_grpc.AttendanceServiceStub:
    return client.stub(attendance_pb2_grpc.AttendanceServiceStub, "enrolment")


@app.command()
def template(
    cohort: Cohort,
    provider: Provider,
    session: Annotated[list[str] | None, typer.Option("--session", help="Only this session; repeatable.")] = None,
    out_file: Annotated[Path | None, typer.Option("--out", "-o", help="Write here instead of to the screen.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over the file that --out names.")] = False,
    as_json: Json = False,
) -> None:
    """The register to fill in: one line for each of your sessions and each learner on it, as CSV.

    Fill in `state` (present, late, partial with `minutes`, excused with `excuse`, absent) and post the file. A line
    whose state stays empty marks nobody. A file that is there already may be filled in: it is not written over.
    """

    async def work() -> Exit:
        if out_file is not None and not force:
            keep_what_is_there(out_file)
        async with connected(_identity(provider)) as client:
            request = pb.GetRegisterTemplateRequest(
                cohort_id=cohort, provider_id=provider, session_ids=session or [], token=last_token()
            )
            answer = await client.call(stub(client).GetRegisterTemplate, request)
        text = write_template(answer.rows)
        if out_file is not None:
            write_text(out_file, text)
            say(f"{len(answer.rows)} lines written to {out_file}: fill in `state` and post it.")

        def render() -> None:
            if out_file is None:
                write(text)

        show(answer, as_json, render)
        return Exit.OK

    run(work())


@app.command()
def post(
    file: Annotated[Path, typer.Argument(help="The register: a CSV file, or - for standard input.")],
    provider: Provider,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show every answer, store nothing.")] = False,
    only_problems: Annotated[bool, typer.Option("--problems", help="Show only the lines that need you.")] = False,
    as_json: Json = False,
) -> None:
    """Posts a register and shows the answer to every line. Posting it again is harmless.

    A different value for a line that is recorded is a conflict. To correct it, name in `replaces` the version of the
    value you replace (the answer shows it) and a `reason` code. A long file goes in parts: when one of them fails, the
    answers to those before it are shown.
    """

    async def work() -> Exit:
        rows = read_file(file)
        answers = dict[int, pb.AttendanceAnswer]()

        def tell() -> None:
            places = sorted(answers)
            lines, told = [rows[i] for i in places], [answers[i] for i in places]
            show(
                [{"line": row.line, **_as_data(a)} for row, a in zip(lines, told, strict=True)],
                as_json,
                lambda: render(lines, told, only_problems=only_problems, dry_run=dry_run),
            )

        try:
            async with connected(_identity(provider)) as client:
                with Phases() as phases:
                    async for part in _post_parts(client, provider, rows, dry_run=dry_run):
                        answers.update(part)
                        if len(rows) > ROWS_MAX:
                            phases.show("posting", len(answers), len(rows))
        except BaseException as failure:
            # Also when it was interrupted: what was answered until then is told here or nowhere.
            if answers:
                tell()
            if isinstance(failure, CommandFailed):
                raise _broken_off(failure, len(rows), len(answers)) from failure
            raise
        tell()
        return outcomes.exit_of([a.outcome for a in answers.values()])

    run(work())


def _broken_off(failure: CommandFailed, lines: int, answered: int) -> CommandFailed:
    """The same failure, which also says how far the register came."""
    tried = min(ROWS_MAX, lines - answered)
    return CommandFailed(
        failure.exit_code,
        str(failure),
        (
            *failure.details,
            f"Of {lines} lines {answered} are answered, {tried} have no answer, "
            f"{lines - answered - tried} were not sent.",
            "Post the same file again: what is recorded stays as it is, and no line counts twice.",
        ),
    )


def read_file(file: Path) -> tuple[RegisterRow, ...]:
    """The lines of a register that mark somebody. Raises CommandFailed."""
    try:
        register = read_register(read_sheet_bytes(file))
    except SheetUnreadable as error:
        raise CommandFailed(Exit.USAGE, f"{file}: {error}") from error
    if register.ignored_columns:
        say(f"Columns without a meaning here were passed over: {', '.join(register.ignored_columns)}")
    if register.blank:
        say(f"{register.blank} lines mark nobody and were not posted.")
    return register.rows


async def post_rows(
    client: Client, provider: str, rows: Sequence[RegisterRow], *, wrote: Callable[[str], None]
) -> list[pb.AttendanceAnswer]:
    """One answer per line, in order. `wrote` is given the token of every part."""
    answers = dict[int, pb.AttendanceAnswer]()
    async for part in _post_parts(client, provider, rows, wrote=wrote):
        answers.update(part)
    return [answers[i] for i in range(len(rows))]


async def _post_parts(
    client: Client,
    provider: str,
    rows: Sequence[RegisterRow],
    *,
    dry_run: bool = False,
    wrote: Callable[[str], None] = remember,
) -> AsyncIterator[Mapping[int, pb.AttendanceAnswer]]:
    """Answers by the line's place in `rows`, as they come; first of all to lines that could not be understood, which
    are answered here and spoil no other."""
    yield {i: _refused(row) for i, row in enumerate(rows) if row.row is None}
    posted = [(i, row.row) for i, row in enumerate(rows) if row.row is not None]
    for start in range(0, len(posted), ROWS_MAX):
        part = posted[start : start + ROWS_MAX]
        request = pb.PostAttendanceRequest(provider_id=provider, rows=[row for _, row in part], dry_run=dry_run)
        answer = await client.call(stub(client).PostAttendance, request)
        wrote(answer.token)
        yield {i: a for (i, _), a in zip(part, answer.answers, strict=True)}


def render(
    rows: Sequence[RegisterRow],
    answers: Sequence[pb.AttendanceAnswer],
    *,
    only_problems: bool = False,
    dry_run: bool = False,
) -> None:
    """The answers, line by line."""
    for row, answer in zip(rows, answers, strict=True):
        if not only_problems or outcomes.exit_of([answer.outcome]):
            outcomes.line(answer.outcome, row.label, _stands(row, answer))
    note = " (dry run: nothing was stored)" if dry_run else ""
    out.print(f"  {outcomes.summary([a.outcome for a in answers])}{note}")


def _stands(row: RegisterRow, answer: pb.AttendanceAnswer) -> str:
    """What stands, where that is news."""
    if not answer.HasField("current") or row.row is None or answer.current.value == row.row.value:
        return ""
    return f"; {value_words(answer.current.value)} stands at version {answer.current.version}"


def _refused(row: RegisterRow) -> pb.AttendanceAnswer:
    violations = [outcome_pb2.FieldViolation(field=name, description=text) for name, text in row.faults]
    outcome = outcome_pb2.Outcome(
        status=outcome_pb2.OUTCOME_STATUS_REFUSED,
        code="line-unreadable",
        message="mend the line and post the file again",
        violations=violations,
    )
    return pb.AttendanceAnswer(outcome=outcome)


def _as_data(answer: pb.AttendanceAnswer) -> dict[str, object]:
    current = answer.current if answer.HasField("current") else None
    return {"outcome": answer.outcome, "current": current}


@app.command("show")
def show_register(
    cohort: Cohort,
    provider: Provider,
    session: Annotated[str, typer.Option("--session", help="Only this session.")] = "",
    as_json: Json = False,
) -> None:
    """Reads your register back: what stands, and what stood before it."""

    async def work() -> Exit:
        async with connected(_identity(provider)) as client:
            request = pb.GetRegisterRequest(
                cohort_id=cohort, provider_id=provider, session_id=session, token=last_token()
            )
            answer = await client.call(stub(client).GetRegister, request)
        show(answer, as_json, lambda: _render_register(answer))
        return Exit.OK

    run(work())


def _render_register(answer: pb.GetRegisterResponse) -> None:
    table(
        "",
        ("unit", "person", "reference", "stands", "version", "by", "before"),
        (
            (
                entry.session_id or f"{entry.unscheduled.unit_kind} {entry.unscheduled.record_id}",
                entry.person_id,
                entry.learner_reference,
                value_words(entry.current.value),
                entry.current.version,
                entry.current.recorded_by,
                "; ".join(
                    f"{value_words(old.value)} (version {old.version}, {old.recorded_at.ToJsonString()})"
                    for old in entry.history
                ),
            )
            for entry in answer.entries
        ),
    )


@app.command()
def outstanding(
    provider: Provider,
    cohort: Annotated[str, typer.Option("--cohort", help="Only this cohort.")] = "",
    until: Annotated[
        str, typer.Option("--until", help="Sessions up to this date, YYYY-MM-DD; today unless given.")
    ] = "",
    as_json: Json = False,
) -> None:
    """Sessions that were held and the learners you have not marked yet."""

    async def work() -> Exit:
        async with connected(_identity(provider)) as client:
            request = pb.ListOutstandingRequest(provider_id=provider, cohort_id=cohort, until=until, token=last_token())
            answer = await client.call(stub(client).ListOutstanding, request)
        columns = ("cohort", "session", "on", "expected", "marked", "not marked yet")
        show(
            answer,
            as_json,
            lambda: table(
                "",
                columns,
                (
                    (s.cohort_id, s.session_id, s.on, s.expected, s.marked, ", ".join(s.unmarked_person_ids))
                    for s in answer.sessions
                ),
            ),
        )
        return Exit.OK

    run(work())
