"""The wire form of a programme loses nothing and takes nothing that the model would refuse."""

from collections.abc import Iterator

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from catalogue import Programme, faults
from catalogue.files import dotted
from catalogue.limits import FILE_BYTES_MAX, RULE_DEPTH_MAX, RULE_NODES_MAX, WIRE_FAULTS_MAX
from catalogue.proto import programme_from_proto, programme_to_proto, read_programme
from catalogue.testing import programmes
from credence.common.v1 import programme_pb2 as pb

SMALLEST = {
    "credence": 1,
    "id": "small",
    "version": 1,
    "title": "Small",
    "owner": {"id": "owner", "title": "Owner"},
    "duration": {"min_months": 1, "max_months": 1},
    "awards": [
        {"id": "done", "title": "Done", "kind": "completion", "confirmation": "automatic", "rule": {"check": "always"}}
    ],
}


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(programmes())
def test_a_programme_comes_back_from_the_wire_as_it_went(programme: Programme) -> None:
    wire = programme_to_proto(programme).SerializeToString()
    assert programme_from_proto(pb.Programme.FromString(wire)) == programme


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(programmes())
def test_a_programme_comes_back_from_json_as_it_went_and_its_checks_never_crash(programme: Programme) -> None:
    assert Programme.model_validate_json(programme.model_dump_json()) == programme
    assert all(fault.message and fault.code for fault in faults(programme))


def test_an_empty_message_is_no_programme() -> None:
    with pytest.raises(ValueError, match="validation error"):
        programme_from_proto(pb.Programme())


def test_a_decimal_that_is_none_is_refused_as_a_value_error() -> None:
    message = programme_to_proto(Programme.model_validate(SMALLEST))
    message.credit_cap = "many"
    with pytest.raises(ValueError, match="a decimal is written like"):
        programme_from_proto(message)


# What is wrong with a message from outside


def faults_of(message: pb.Programme) -> list[tuple[str, str]]:
    found = read_programme(message)
    assert isinstance(found, list)
    return [(dotted(fault.path), fault.code) for fault in found]


def test_a_sound_message_is_the_programme() -> None:
    programme = Programme.model_validate(SMALLEST)
    assert read_programme(programme_to_proto(programme)) == programme


def test_every_fault_of_a_message_is_named_with_its_path() -> None:
    message = programme_to_proto(Programme.model_validate(SMALLEST))
    message.zone = "Europe/Nowhere"
    message.modules.extend([pb.Module(id="Risk", title="Risk"), pb.Module(id="b", title=""), pb.Module(id="c c")])
    message.unit_kinds.add(id="day", title="Day", unit="day", units="days").attributes.add(id="x", title="X")
    message.credit_cap = "many"
    award = message.awards[0]
    award.id = "Bad Id"
    award.credit.credits = "20"
    award.rule.all_of.of.extend([pb.Rule(), pb.Rule(share_of_sessions=pb.ShareOfSessions(at_least="all"))])
    assert sorted(faults_of(message)) == [
        ("awards[0].credit", "credit-not-allowed"),
        ("awards[0].credit.ects", "wrong-value"),
        ("awards[0].credit.level", "out-of-range"),
        ("awards[0].credit.scheme", "wrong-value"),
        ("awards[0].id", "wrong-value"),
        ("awards[0].rule.of[0]", "missing-key"),
        ("awards[0].rule.of[1].at_least", "wrong-value"),
        ("awards[0].rule.of[1].treatment.excused", "wrong-value"),
        ("awards[0].rule.of[1].treatment.partial", "wrong-value"),
        ("credit_cap", "wrong-value"),
        ("modules[0].id", "wrong-value"),
        ("modules[1].title", "wrong-value"),
        ("modules[2].id", "wrong-value"),
        ("modules[2].title", "wrong-value"),
        ("unit_kinds[0].attributes[0].values", "out-of-range"),
        ("unit_kinds[0].kind", "wrong-value"),
        ("zone", "unknown-zone"),
    ]


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(programmes(), st.data())
def test_whatever_field_of_a_message_is_emptied_or_spoilt_it_has_faults_or_is_what_the_model_takes(
    programme: Programme, data: st.DataObject
) -> None:
    message = programme_to_proto(programme)
    for _ in range(data.draw(st.integers(1, 3))):
        inner = data.draw(st.sampled_from(list(_messages(message))))
        name = data.draw(st.sampled_from([each.name for each in inner.DESCRIPTOR.fields]))
        field = inner.DESCRIPTOR.fields_by_name[name]
        if not field.is_repeated and field.type == FieldDescriptor.TYPE_STRING:
            setattr(inner, field.name, data.draw(st.sampled_from(["", "No Id", "1e3", "a\nb", "-1"])))
        elif not field.is_repeated and field.type in (FieldDescriptor.TYPE_UINT32, FieldDescriptor.TYPE_ENUM):
            setattr(inner, field.name, data.draw(st.sampled_from([0, 99, 2_000_000_000])))
        else:
            inner.ClearField(field.name)
    found = read_programme(message)
    if isinstance(found, list):
        assert found
        assert all(fault.message and fault.code for fault in found)
    else:
        assert found == programme_from_proto(message)


def test_a_message_larger_than_any_file_is_not_looked_through() -> None:
    message = programme_to_proto(Programme.model_validate(SMALLEST))
    module = pb.Module(title="x" * 97)
    room = FILE_BYTES_MAX - message.ByteSize()
    message.modules.extend([module] * (room // (module.ByteSize() + 2)))
    assert faults_of(message) == [("", "too-many-faults")]
    message.modules.extend([module] * 2)
    assert faults_of(message) == [("", "file-too-large")]


@pytest.mark.parametrize(
    ("many", "codes"), [(WIRE_FAULTS_MAX, {"wrong-value"}), (WIRE_FAULTS_MAX + 1, {"too-many-faults"})]
)
def test_so_many_values_that_are_none_are_named_and_one_of_more_is_not(many: int, codes: set[str]) -> None:
    message = programme_to_proto(Programme.model_validate(SMALLEST))
    values = ["fine", *["No Id"] * 49]
    kinds = [
        pb.UnitKind(id=f"k{i}", title="Kind", timing=pb.UNIT_TIMING_UNSCHEDULED, unit="u", units="u") for i in range(3)
    ]
    for i in range(many // 49):
        kinds[i // 10].attributes.add(id=f"a{i}", title="Attribute", values=values)
    kinds[2].attributes.add(id="b", title="Attribute", values=["fine", *["No Id"] * (many % 49)])
    message.unit_kinds.extend(kinds)
    assert {code for _, code in faults_of(message)} == codes


@pytest.mark.parametrize(("levels", "nodes"), [(RULE_DEPTH_MAX + 1, 1), (2, RULE_NODES_MAX)])
def test_a_rule_too_large_is_named_and_not_looked_through(levels: int, nodes: int) -> None:
    message = programme_to_proto(Programme.model_validate(SMALLEST))
    rule = pb.Rule(all_of=pb.AllOf(of=[pb.Rule()] * nodes))
    for _ in range(levels - 2):
        rule = pb.Rule(all_of=pb.AllOf(of=[rule]))
    message.awards[0].rule.CopyFrom(rule)
    assert faults_of(message) == [("awards[0].rule", "rule-too-large")]


def test_every_field_of_the_contract_is_written_by_the_strategies_and_the_conversion() -> None:
    """A field added to the .proto and forgotten in the conversion would be lost in silence: here it is missed."""
    seen: set[str] = set()

    @settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow], deadline=None, derandomize=True)
    @given(programmes())
    def collect(programme: Programme) -> None:
        _collect(programme_to_proto(programme), seen)

    collect()
    declared = {
        field.full_name for message in pb.DESCRIPTOR.message_types_by_name.values() for field in _fields(message)
    }
    assert declared - seen == set()


def _messages(message: Message) -> Iterator[Message]:
    """The message and all that is set in it, but for those that have no field."""
    if message.DESCRIPTOR.fields:
        yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for each in value if field.is_repeated else [value]:
                yield from _messages(each)


def _fields(message: Descriptor) -> list[FieldDescriptor]:
    return list(message.fields)


def _collect(message: object, seen: set[str]) -> None:
    for field, value in message.ListFields():  # type: ignore[attr-defined]
        seen.add(field.full_name)
        if field.message_type is not None:
            for each in value if field.is_repeated else [value]:
                _collect(each, seen)
