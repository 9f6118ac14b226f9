"""R1 with R2, the directors' leadership programme: four modules, coaching, placements in three sectors, completion."""

from __future__ import annotations

from credence.accreditation.v1 import standings_pb2 as pb
from credence_cli.commands.standing import render_trees
from credence_cli.demo.stage import Stage

PROGRAMME = "r1-directors-leadership"
PROVIDER = "national-college"
STARTED_DAYS_AGO = 330
COACHING = 6
SECTORS = ("public", "private", "third")


async def play(stage: Stage) -> None:
    """One director from the opening event to completion."""
    cohort, director = stage.id("dir"), stage.id("sample-director")
    started = stage.ago(STARTED_DAYS_AGO)
    stage.scene("R1 with R2: days, coaching and placements; completion, no credit")
    stage.step("A cohort of 26, eleven months in; one director's year.")
    await stage.open_cohort(cohort, PROGRAMME, started, PROVIDER, 26)
    await stage.enrol(cohort, [director], started)

    stage.step("The residential days are on the timetable; coaching and placements are records the register creates.")
    rows = await stage.template(cohort, PROVIDER, [])
    lines = ["cohort,session,person,state,unit,record,on,attributes"]
    lines += [f"{cohort},{row.session_id},{director},present,,,," for row in rows]
    lines += [
        f"{cohort},,{director},present,coaching,c{n},{stage.ago(STARTED_DAYS_AGO - 40 * n)},"
        for n in range(1, COACHING + 1)
    ]
    lines += [
        f"{cohort},,{director},present,shadowing,{sector},{stage.ago(STARTED_DAYS_AGO - 60 - 10 * i)},sector={sector}"
        for i, sector in enumerate(SECTORS)
    ]
    file = stage.save("directors.csv", "\n".join(lines) + "\n")
    _, answers = await stage.post(PROVIDER, file)
    stage.expect(not any(a.outcome.code for a in answers), "a line of the register was refused")
    await stage.award(cohort, director, "completion", pb.AWARD_STATE_CONFIRMED)
    render_trees(await stage.standing(cohort, director))
