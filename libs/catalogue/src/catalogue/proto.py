"""A programme on the wire, field by field by hand: the contract and the model may move apart only on purpose."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from typing import Final, TypeVar, assert_never

from catalogue.model import (
    AllOf,
    Always,
    AnyOf,
    Assessment,
    AssessmentKind,
    AssessmentPassed,
    AtLeast,
    Attended,
    Attribute,
    AttributeValue,
    Award,
    AwardKind,
    AwardReference,
    CohortDefaults,
    ConfirmationMode,
    Credit,
    CreditsHeld,
    Duration,
    Event,
    ExcuseCode,
    ExcusedTreatment,
    ExcuseTreatment,
    MeetingsHeld,
    Mentoring,
    Module,
    Organisation,
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
from credence.common.v1 import programme_pb2 as pb

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
    """The programme of a message. Raises ValueError (pydantic's ValidationError too) when it is none."""
    return Programme.model_validate(
        {
            "credence": message.schema_version,
            "id": message.id,
            "version": message.version,
            "title": message.title,
            "owner": Organisation(id=message.owner.id, title=message.owner.title),
            "awarding_body": (
                Organisation(id=message.awarding_body.id, title=message.awarding_body.title)
                if message.HasField("awarding_body")
                else None
            ),
            "zone": message.zone,
            "duration": Duration(min_months=message.duration.min_months, max_months=message.duration.max_months),
            "notional_hours": message.notional_hours if message.HasField("notional_hours") else None,
            "modules": [Module(id=module.id, title=module.title) for module in message.modules],
            "unit_kinds": [_unit_kind_from(kind) for kind in message.unit_kinds],
            "events": [Event(id=event.id, title=event.title) for event in message.events],
            "timetable": [_session_from(session) for session in message.timetable],
            "cohort": CohortDefaults(
                capacity=message.cohort.capacity if message.cohort.HasField("capacity") else None,
                waiting_list=message.cohort.waiting_list,
            ),
            "assessments": [_assessment_from(assessment) for assessment in message.assessments],
            "excuse_codes": [
                ExcuseCode(id=code.id, title=code.title, treatment=_word(_EXCUSES, code.treatment))
                for code in message.excuse_codes
            ],
            "mentoring": _mentoring_from(message.mentoring) if message.HasField("mentoring") else None,
            "awards": [_award_from(award) for award in message.awards],
            "credit_cap": _decimal_from(message.credit_cap),
        }
    )


def _word(words: dict[_Word, _Code], code: int) -> _Word:
    for word, each in words.items():
        if each == code:
            return word
    raise ValueError(f"code {code} is none of {', '.join(words)}")


def _decimal_to(value: Decimal | None) -> str:
    return "" if value is None else format(value, "f")


def _decimal_from(text: str) -> Decimal | None:
    try:
        return Decimal(text) if text else None
    except InvalidOperation:
        raise ValueError(f"{text!a} is not a decimal") from None


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


def _unit_kind_from(message: pb.UnitKind) -> UnitKind:
    return UnitKind(
        id=message.id,
        title=message.title,
        kind=_word(_TIMINGS, message.timing),
        unit=message.unit,
        units=message.units,
        minutes=message.minutes if message.HasField("minutes") else None,
        attributes=tuple(
            Attribute(id=each.id, title=each.title, values=tuple(each.values)) for each in message.attributes
        ),
    )


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


def _session_from(message: pb.TimetableSession) -> TimetableSession:
    return TimetableSession(
        id=message.id,
        title=message.title,
        unit_kind=message.unit_kind,
        event=message.event or None,
        module=message.module or None,
        day=message.day,
        start=message.start,
        minutes=message.minutes,
        place=message.place or None,
        provider=message.provider or None,
    )


def _assessment_to(assessment: Assessment) -> pb.Assessment:
    return pb.Assessment(
        id=assessment.id,
        title=assessment.title,
        kind=_ASSESSMENTS[assessment.kind],
        optional=assessment.optional,
        max_attempts=assessment.max_attempts,
        pass_mark=_decimal_to(assessment.pass_mark),
    )


def _assessment_from(message: pb.Assessment) -> Assessment:
    return Assessment(
        id=message.id,
        title=message.title,
        kind=_word(_ASSESSMENTS, message.kind),
        optional=message.optional,
        max_attempts=message.max_attempts,
        pass_mark=_decimal_from(message.pass_mark),
    )


def _mentoring_to(mentoring: Mentoring) -> pb.Mentoring:
    return pb.Mentoring(
        shortlist=mentoring.shortlist,
        choices=mentoring.choices,
        meetings=mentoring.meetings,
        within_months=mentoring.within_months,
        mentor_standing=_reference_to(mentoring.mentor_standing),
    )


def _mentoring_from(message: pb.Mentoring) -> Mentoring:
    return Mentoring(
        shortlist=message.shortlist,
        choices=message.choices,
        meetings=message.meetings,
        within_months=message.within_months,
        mentor_standing=_reference_from(message.mentor_standing),
    )


def _reference_to(reference: AwardReference) -> pb.AwardReference:
    return pb.AwardReference(programme=reference.programme, award=reference.award)


def _reference_from(message: pb.AwardReference) -> AwardReference:
    return AwardReference(programme=message.programme, award=message.award)


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


def _award_from(message: pb.Award) -> Award:
    return Award(
        id=message.id,
        title=message.title,
        kind=_word(_AWARDS, message.kind),
        rule=_rule_from(message.rule),
        confirmation=_word(_CONFIRMATIONS, message.confirmation),
        credit=_credit_from(message.credit) if message.HasField("credit") else None,
        qualification=_qualification_from(message.qualification) if message.HasField("qualification") else None,
        rank=message.rank if message.HasField("rank") else None,
        certificate=message.certificate,
    )


def _credit_to(credit: Credit) -> pb.Credit:
    return pb.Credit(
        credits=_decimal_to(credit.credits),
        scheme=pb.CREDIT_SCHEME_CATS,
        level=credit.level,
        ects=_decimal_to(credit.ects),
        transferable=credit.transferable,
    )


def _credit_from(message: pb.Credit) -> Credit:
    if message.scheme != pb.CREDIT_SCHEME_CATS:
        raise ValueError(f"credit scheme {message.scheme} is not known")
    return Credit(
        credits=_needed(message.credits),
        scheme="CATS",
        level=message.level,
        ects=_needed(message.ects),
        transferable=message.transferable,
    )


def _needed(text: str) -> Decimal:
    value = _decimal_from(text)
    if value is None:
        raise ValueError("a decimal is missing")
    return value


def _qualification_to(qualification: Qualification) -> pb.Qualification:
    return pb.Qualification(
        title=qualification.title,
        claim=_CLAIMS[qualification.claim],
        credits=_decimal_to(qualification.credits),
        of_which=_decimal_to(qualification.of_which),
        level=qualification.level,
    )


def _qualification_from(message: pb.Qualification) -> Qualification:
    return Qualification(
        title=message.title,
        claim=_word(_CLAIMS, message.claim),
        credits=_needed(message.credits),
        of_which=_needed(message.of_which),
        level=message.level,
    )


def _treatment_to(treatment: Treatment) -> pb.Treatment:
    return pb.Treatment(
        late_counts=treatment.late == "counts",
        partial=_PARTIALS[treatment.partial],
        threshold_minutes=treatment.threshold_minutes,
        threshold_share=_decimal_to(treatment.threshold_share),
        excused=_EXCUSED[treatment.excused],
    )


def _treatment_from(message: pb.Treatment) -> Treatment:
    return Treatment(
        late="counts" if message.late_counts else "counts-not",
        partial=_word(_PARTIALS, message.partial),
        threshold_minutes=message.threshold_minutes if message.HasField("threshold_minutes") else None,
        threshold_share=_decimal_from(message.threshold_share),
        excused=_word(_EXCUSED, message.excused),
    )


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


def _rule_from(message: pb.Rule) -> Rule:
    node_id, title = message.id or None, message.title or None
    match message.WhichOneof("check"):
        case "all_of":
            return AllOf(check="all-of", id=node_id, title=title, of=_rules_from(message.all_of.of))
        case "any_of":
            return AnyOf(check="any-of", id=node_id, title=title, of=_rules_from(message.any_of.of))
        case "at_least":
            of = _rules_from(message.at_least.of)
            return AtLeast(check="at-least", id=node_id, title=title, at_least=message.at_least.at_least, of=of)
        case "attended":
            attended = message.attended
            return Attended(
                check="attended",
                id=node_id,
                title=title,
                unit_kind=attended.unit_kind,
                module=attended.module or None,
                where=tuple(AttributeValue(attribute=each.attribute, value=each.value) for each in attended.where),
                at_least=attended.at_least,
                treatment=_treatment_from(attended.treatment),
            )
        case "share_of_sessions":
            share = message.share_of_sessions
            return ShareOfSessions(
                check="share-of-sessions",
                id=node_id,
                title=title,
                unit_kind=share.unit_kind or None,
                module=share.module or None,
                at_least=_needed(share.at_least),
                treatment=_treatment_from(share.treatment),
            )
        case "meetings_held":
            meetings = message.meetings_held
            within_months = meetings.within_months if meetings.HasField("within_months") else None
            return MeetingsHeld(
                check="meetings-held",
                id=node_id,
                title=title,
                at_least=meetings.at_least,
                within_months=within_months,
            )
        case "assessment_passed":
            passed = message.assessment_passed
            return AssessmentPassed(
                check="assessment-passed",
                id=node_id,
                title=title,
                component=passed.component,
                carried_over=passed.carried_over,
            )
        case "credits_held":
            held = message.credits_held
            return CreditsHeld(
                check="credits",
                id=node_id,
                title=title,
                at_least=_needed(held.at_least),
                of_which=_decimal_from(held.of_which),
                level=held.level or None,
                from_awards=tuple(_reference_from(each) for each in held.from_awards),
            )
        case "always":
            return Always(check="always", id=node_id, title=title)
        case None:
            raise ValueError("a rule says what it checks")
        case unknown:
            assert_never(unknown)


def _rules_from(messages: Iterable[pb.Rule]) -> tuple[Rule, ...]:
    return tuple(_rule_from(each) for each in messages)
