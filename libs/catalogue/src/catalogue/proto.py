"""A programme on the wire, field by field by hand: the contract and the model may move apart only on purpose."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any, Final, TypeAlias, TypeVar, assert_never

from pydantic import ValidationError

from catalogue.checks import draft_faults
from catalogue.fault import Fault
from catalogue.limits import FILE_BYTES_MAX, RULE_DEPTH_MAX, RULE_NODES_MAX, WIRE_FAULTS_MAX
from catalogue.model import (
    AllOf,
    Always,
    AnyOf,
    Assessment,
    AssessmentKind,
    AssessmentPassed,
    AtLeast,
    Attended,
    Award,
    AwardKind,
    AwardReference,
    ConfirmationMode,
    Credit,
    CreditsHeld,
    ExcusedTreatment,
    ExcuseTreatment,
    MeetingsHeld,
    Mentoring,
    PartialTreatment,
    Programme,
    Qualification,
    QualificationClaim,
    Rule,
    ShareOfSessions,
    TimetableSession,
    Treatment,
    UnitKind,
    UnitTiming,
)
from catalogue.structure import draft
from credence.common.v1 import programme_pb2 as pb

_Mapping: TypeAlias = dict[str, Any]  # as a catalogue file has it

_TIMINGS: Final[dict[UnitTiming, pb.UnitTiming.ValueType]] = {
    "scheduled": pb.UNIT_TIMING_SCHEDULED,
    "unscheduled": pb.UNIT_TIMING_UNSCHEDULED,
}
_ASSESSMENTS: Final[dict[AssessmentKind, pb.AssessmentKind.ValueType]] = {
    "project": pb.ASSESSMENT_KIND_PROJECT,
    "coursework": pb.ASSESSMENT_KIND_COURSEWORK,
    "exam": pb.ASSESSMENT_KIND_EXAM,
    "portfolio": pb.ASSESSMENT_KIND_PORTFOLIO,
    "presentation": pb.ASSESSMENT_KIND_PRESENTATION,
    "computer-marked": pb.ASSESSMENT_KIND_COMPUTER_MARKED,
    "overall": pb.ASSESSMENT_KIND_OVERALL,
}
_AWARDS: Final[dict[AwardKind, pb.AwardKind.ValueType]] = {
    "completion": pb.AWARD_KIND_COMPLETION,
    "credit": pb.AWARD_KIND_CREDIT,
}
_CONFIRMATIONS: Final[dict[ConfirmationMode, pb.Confirmation.ValueType]] = {
    "automatic": pb.CONFIRMATION_AUTOMATIC,
    "board": pb.CONFIRMATION_BOARD,
}
_CLAIMS: Final[dict[QualificationClaim, pb.QualificationClaim.ValueType]] = {
    "contributes": pb.QUALIFICATION_CLAIM_CONTRIBUTES,
    "completed": pb.QUALIFICATION_CLAIM_COMPLETED,
}
_PARTIALS: Final[dict[PartialTreatment, pb.PartialTreatment.ValueType]] = {
    "proportional": pb.PARTIAL_TREATMENT_PROPORTIONAL,
    "threshold": pb.PARTIAL_TREATMENT_THRESHOLD,
    "not": pb.PARTIAL_TREATMENT_NOT,
}
_EXCUSES: Final[dict[ExcuseTreatment, pb.ExcusedTreatment.ValueType]] = {
    "counts": pb.EXCUSED_TREATMENT_COUNTS,
    "leaves-denominator": pb.EXCUSED_TREATMENT_LEAVES_DENOMINATOR,
    "absent": pb.EXCUSED_TREATMENT_ABSENT,
}
_EXCUSED: Final[dict[ExcusedTreatment, pb.ExcusedTreatment.ValueType]] = {
    "counts": pb.EXCUSED_TREATMENT_COUNTS,
    "leaves-denominator": pb.EXCUSED_TREATMENT_LEAVES_DENOMINATOR,
    "absent": pb.EXCUSED_TREATMENT_ABSENT,
    "by-code": pb.EXCUSED_TREATMENT_BY_CODE,
}

_Word = TypeVar("_Word", bound=str)
_Code = TypeVar("_Code", bound=int)


def programme_to_proto(programme: Programme) -> pb.Programme:
    """The whole version; what is left out is unset, or empty where the contract says so."""
    return pb.Programme(
        schema_version=programme.credence,
        id=programme.id,
        version=programme.version,
        title=programme.title,
        owner=pb.Organisation(id=programme.owner.id, title=programme.owner.title),
        awarding_body=(
            None
            if programme.awarding_body is None
            else pb.Organisation(id=programme.awarding_body.id, title=programme.awarding_body.title)
        ),
        zone=programme.zone,
        duration=pb.Duration(min_months=programme.duration.min_months, max_months=programme.duration.max_months),
        notional_hours=programme.notional_hours,
        modules=[pb.Module(id=module.id, title=module.title) for module in programme.modules],
        unit_kinds=[_unit_kind_to(kind) for kind in programme.unit_kinds],
        events=[pb.Event(id=event.id, title=event.title) for event in programme.events],
        timetable=[_session_to(session) for session in programme.timetable],
        cohort=pb.CohortDefaults(capacity=programme.cohort.capacity, waiting_list=programme.cohort.waiting_list),
        assessments=[_assessment_to(assessment) for assessment in programme.assessments],
        excuse_codes=[
            pb.ExcuseCode(id=code.id, title=code.title, treatment=_EXCUSES[code.treatment])
            for code in programme.excuse_codes
        ],
        mentoring=None if programme.mentoring is None else _mentoring_to(programme.mentoring),
        awards=[_award_to(award) for award in programme.awards],
        credit_cap=_decimal_to(programme.credit_cap),
    )


def programme_from_proto(message: pb.Programme) -> Programme:
    """The programme of a message. Raises pydantic's ValidationError, a ValueError, when it is none."""
    return Programme.model_validate(_mapping(message))


def read_programme(message: pb.Programme) -> Programme | list[Fault]:
    """The programme of a message from outside, or every fault that it has by itself, as in a file; never raises.

    The paths are those of the catalogue (`docs/catalogue.md`), which names a few things otherwise than the contract.
    What no file could say, or nobody would read, is not looked through: finding every fault in it can take minutes.
    """
    if message.ByteSize() > FILE_BYTES_MAX:
        return [Fault((), f"a programme has at most {FILE_BYTES_MAX} bytes", "file-too-large")]
    if large := [i for i, award in enumerate(message.awards) if _is_large(award.rule)]:
        text = f"a rule has at most {RULE_DEPTH_MAX} levels and {RULE_NODES_MAX} nodes"
        return [Fault(("awards", i, "rule"), text, "rule-too-large") for i in large]
    mapping = _mapping(message)
    try:
        return Programme.model_validate(mapping)
    except ValidationError as error:
        if error.error_count() > WIRE_FAULTS_MAX:
            text = f"{error.error_count()} values are none of the schema's: run `credence catalogue check` on its file"
            return [Fault((), text, "too-many-faults")]
    programme, found = draft(mapping)
    return found if programme is None else [*found, *draft_faults(programme)]


def _is_large(rule: pb.Rule) -> bool:
    """Whether a rule is beyond RULE_DEPTH_MAX or RULE_NODES_MAX; looks no further than it must to know."""
    nodes, todo = 0, [(1, rule)]
    while todo:
        level, node = todo.pop()
        nodes += 1
        if level > RULE_DEPTH_MAX or nodes > RULE_NODES_MAX:
            return True
        group = node.WhichOneof("check")
        if group in ("all_of", "any_of", "at_least"):
            todo.extend((level + 1, each) for each in getattr(node, group).of)
    return False


def _mapping(message: pb.Programme) -> _Mapping:
    """What a file would say, whatever the message says: what is no value of the model is left for it to name.

    A field that is not set, and must be, is here with the contract's empty value, so that it is named by its path.
    """
    return {
        "credence": message.schema_version,
        "id": message.id,
        "version": message.version,
        "title": message.title,
        "owner": _titled(message.owner),
        "awarding_body": _titled(message.awarding_body) if message.HasField("awarding_body") else None,
        "zone": message.zone,
        "duration": {"min_months": message.duration.min_months, "max_months": message.duration.max_months},
        "notional_hours": message.notional_hours if message.HasField("notional_hours") else None,
        "modules": [_titled(module) for module in message.modules],
        "unit_kinds": [_unit_kind_from(kind) for kind in message.unit_kinds],
        "events": [_titled(event) for event in message.events],
        "timetable": [_session_from(session) for session in message.timetable],
        "cohort": {
            "capacity": message.cohort.capacity if message.cohort.HasField("capacity") else None,
            "waiting_list": message.cohort.waiting_list,
        },
        "assessments": [_assessment_from(assessment) for assessment in message.assessments],
        "excuse_codes": [
            _titled(code) | {"treatment": _word(_EXCUSES, code.treatment)} for code in message.excuse_codes
        ],
        "mentoring": _mentoring_from(message.mentoring) if message.HasField("mentoring") else None,
        "awards": [_award_from(award) for award in message.awards],
        "credit_cap": message.credit_cap or None,
    }


def _titled(message: pb.Organisation | pb.Module | pb.Event | pb.ExcuseCode) -> _Mapping:
    return {"id": message.id, "title": message.title}


def _word(words: dict[_Word, _Code], code: int) -> _Word | int:
    """The model's word for a code; a code that has none is left as it is, for the model to refuse."""
    return next((word for word, each in words.items() if each == code), code)


def _decimal_to(value: Decimal | None) -> str:
    return "" if value is None else format(value, "f")


def _unit_kind_to(kind: UnitKind) -> pb.UnitKind:
    return pb.UnitKind(
        id=kind.id,
        title=kind.title,
        timing=_TIMINGS[kind.kind],
        unit=kind.unit,
        units=kind.units,
        minutes=kind.minutes,
        attributes=[pb.Attribute(id=each.id, title=each.title, values=each.values) for each in kind.attributes],
    )


def _unit_kind_from(message: pb.UnitKind) -> _Mapping:
    return {
        "id": message.id,
        "title": message.title,
        "kind": _word(_TIMINGS, message.timing),
        "unit": message.unit,
        "units": message.units,
        "minutes": message.minutes if message.HasField("minutes") else None,
        "attributes": [
            {"id": each.id, "title": each.title, "values": list(each.values)} for each in message.attributes
        ],
    }


def _session_to(session: TimetableSession) -> pb.TimetableSession:
    return pb.TimetableSession(
        id=session.id,
        title=session.title,
        unit_kind=session.unit_kind,
        event=session.event or "",
        module=session.module or "",
        day=session.day,
        start=session.start,
        minutes=session.minutes,
        place=session.place or "",
        provider=session.provider or "",
    )


def _session_from(message: pb.TimetableSession) -> _Mapping:
    return {
        "id": message.id,
        "title": message.title,
        "unit_kind": message.unit_kind,
        "event": message.event or None,
        "module": message.module or None,
        "day": message.day,
        "start": message.start,
        "minutes": message.minutes,
        "place": message.place or None,
        "provider": message.provider or None,
    }


def _assessment_to(assessment: Assessment) -> pb.Assessment:
    return pb.Assessment(
        id=assessment.id,
        title=assessment.title,
        kind=_ASSESSMENTS[assessment.kind],
        optional=assessment.optional,
        max_attempts=assessment.max_attempts,
        pass_mark=_decimal_to(assessment.pass_mark),
    )


def _assessment_from(message: pb.Assessment) -> _Mapping:
    return {
        "id": message.id,
        "title": message.title,
        "kind": _word(_ASSESSMENTS, message.kind),
        "optional": message.optional,
        "max_attempts": message.max_attempts,
        "pass_mark": message.pass_mark or None,
    }


def _mentoring_to(mentoring: Mentoring) -> pb.Mentoring:
    return pb.Mentoring(
        shortlist=mentoring.shortlist,
        choices=mentoring.choices,
        meetings=mentoring.meetings,
        within_months=mentoring.within_months,
        mentor_standing=_reference_to(mentoring.mentor_standing),
    )


def _mentoring_from(message: pb.Mentoring) -> _Mapping:
    return {
        "shortlist": message.shortlist,
        "choices": message.choices,
        "meetings": message.meetings,
        "within_months": message.within_months,
        "mentor_standing": _reference_from(message.mentor_standing),
    }


def _reference_to(reference: AwardReference) -> pb.AwardReference:
    return pb.AwardReference(programme=reference.programme, award=reference.award)


def _reference_from(message: pb.AwardReference) -> _Mapping:
    return {"programme": message.programme, "award": message.award}


def _award_to(award: Award) -> pb.Award:
    return pb.Award(
        id=award.id,
        title=award.title,
        kind=_AWARDS[award.kind],
        rule=_rule_to(award.rule),
        confirmation=_CONFIRMATIONS[award.confirmation],
        credit=None if award.credit is None else _credit_to(award.credit),
        qualification=None if award.qualification is None else _qualification_to(award.qualification),
        rank=award.rank,
        certificate=award.certificate,
    )


def _award_from(message: pb.Award) -> _Mapping:
    return {
        "id": message.id,
        "title": message.title,
        "kind": _word(_AWARDS, message.kind),
        "rule": _rule_from(message.rule),
        "confirmation": _word(_CONFIRMATIONS, message.confirmation),
        "credit": _credit_from(message.credit) if message.HasField("credit") else None,
        "qualification": _qualification_from(message.qualification) if message.HasField("qualification") else None,
        "rank": message.rank if message.HasField("rank") else None,
        "certificate": message.certificate,
    }


def _credit_to(credit: Credit) -> pb.Credit:
    return pb.Credit(
        credits=_decimal_to(credit.credits),
        scheme=pb.CREDIT_SCHEME_CATS,
        level=credit.level,
        ects=_decimal_to(credit.ects),
        transferable=credit.transferable,
    )


def _credit_from(message: pb.Credit) -> _Mapping:
    return {
        "credits": message.credits,
        "scheme": "CATS" if message.scheme == pb.CREDIT_SCHEME_CATS else int(message.scheme),
        "level": message.level,
        "ects": message.ects,
        "transferable": message.transferable,
    }


def _qualification_to(qualification: Qualification) -> pb.Qualification:
    return pb.Qualification(
        title=qualification.title,
        claim=_CLAIMS[qualification.claim],
        credits=_decimal_to(qualification.credits),
        of_which=_decimal_to(qualification.of_which),
        level=qualification.level,
    )


def _qualification_from(message: pb.Qualification) -> _Mapping:
    return {
        "title": message.title,
        "claim": _word(_CLAIMS, message.claim),
        "credits": message.credits,
        "of_which": message.of_which,
        "level": message.level,
    }


def _treatment_to(treatment: Treatment) -> pb.Treatment:
    return pb.Treatment(
        late_counts=treatment.late == "counts",
        partial=_PARTIALS[treatment.partial],
        threshold_minutes=treatment.threshold_minutes,
        threshold_share=_decimal_to(treatment.threshold_share),
        excused=_EXCUSED[treatment.excused],
    )


def _treatment_from(message: pb.Treatment) -> _Mapping:
    return {
        "late": "counts" if message.late_counts else "counts-not",
        "partial": _word(_PARTIALS, message.partial),
        "threshold_minutes": message.threshold_minutes if message.HasField("threshold_minutes") else None,
        "threshold_share": message.threshold_share or None,
        "excused": _word(_EXCUSED, message.excused),
    }


def _rule_to(rule: Rule) -> pb.Rule:
    message = pb.Rule(id=rule.id or "", title=rule.title or "")
    match rule:
        case AllOf():
            message.all_of.CopyFrom(pb.AllOf(of=[_rule_to(each) for each in rule.of]))
        case AnyOf():
            message.any_of.CopyFrom(pb.AnyOf(of=[_rule_to(each) for each in rule.of]))
        case AtLeast():
            message.at_least.CopyFrom(pb.AtLeast(at_least=rule.at_least, of=[_rule_to(each) for each in rule.of]))
        case Attended():
            message.attended.CopyFrom(
                pb.Attended(
                    unit_kind=rule.unit_kind,
                    module=rule.module or "",
                    where=[pb.AttributeValue(attribute=each.attribute, value=each.value) for each in rule.where],
                    at_least=rule.at_least,
                    treatment=_treatment_to(rule.treatment),
                )
            )
        case ShareOfSessions():
            message.share_of_sessions.CopyFrom(
                pb.ShareOfSessions(
                    unit_kind=rule.unit_kind or "",
                    module=rule.module or "",
                    at_least=_decimal_to(rule.at_least),
                    treatment=_treatment_to(rule.treatment),
                )
            )
        case MeetingsHeld():
            message.meetings_held.CopyFrom(pb.MeetingsHeld(at_least=rule.at_least, within_months=rule.within_months))
        case AssessmentPassed():
            message.assessment_passed.CopyFrom(
                pb.AssessmentPassed(component=rule.component, carried_over=rule.carried_over)
            )
        case CreditsHeld():
            message.credits_held.CopyFrom(
                pb.CreditsHeld(
                    at_least=_decimal_to(rule.at_least),
                    of_which=_decimal_to(rule.of_which),
                    level=rule.level or 0,
                    from_awards=[_reference_to(each) for each in rule.from_awards],
                )
            )
        case Always():
            message.always.CopyFrom(pb.Always())
        case _:
            assert_never(rule)
    return message


def _rule_from(message: pb.Rule) -> _Mapping:
    """A rule; without `check` where the message has none."""
    node: _Mapping = {"id": message.id or None, "title": message.title or None}
    match message.WhichOneof("check"):
        case "all_of":
            return node | {"check": "all-of", "of": _rules_from(message.all_of.of)}
        case "any_of":
            return node | {"check": "any-of", "of": _rules_from(message.any_of.of)}
        case "at_least":
            at_least = message.at_least
            return node | {"check": "at-least", "at_least": at_least.at_least, "of": _rules_from(at_least.of)}
        case "attended":
            return node | _attended_from(message.attended)
        case "share_of_sessions":
            share = message.share_of_sessions
            return node | {
                "check": "share-of-sessions",
                "unit_kind": share.unit_kind or None,
                "module": share.module or None,
                "at_least": share.at_least,
                "treatment": _treatment_from(share.treatment),
            }
        case "meetings_held":
            meetings = message.meetings_held
            within_months = meetings.within_months if meetings.HasField("within_months") else None
            return node | {"check": "meetings-held", "at_least": meetings.at_least, "within_months": within_months}
        case "assessment_passed":
            passed = message.assessment_passed
            return node | {
                "check": "assessment-passed",
                "component": passed.component,
                "carried_over": passed.carried_over,
            }
        case "credits_held":
            held = message.credits_held
            return node | {
                "check": "credits",
                "at_least": held.at_least,
                "of_which": held.of_which or None,
                "level": held.level or None,
                "from_awards": [_reference_from(each) for each in held.from_awards],
            }
        case "always":
            return node | {"check": "always"}
        case None:
            return node
        case unknown:
            assert_never(unknown)


def _attended_from(message: pb.Attended) -> _Mapping:
    return {
        "check": "attended",
        "unit_kind": message.unit_kind,
        "module": message.module or None,
        "where": [{"attribute": each.attribute, "value": each.value} for each in message.where],
        "at_least": message.at_least,
        "treatment": _treatment_from(message.treatment),
    }


def _rules_from(messages: Iterable[pb.Rule]) -> list[_Mapping]:
    return [_rule_from(each) for each in messages]
