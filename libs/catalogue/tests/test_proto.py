"""The wire form of a programme loses nothing and takes nothing that the model would refuse."""

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from hypothesis import HealthCheck, given, settings

from catalogue import Programme, faults
from catalogue.proto import programme_from_proto, programme_to_proto
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
    with pytest.raises(ValueError, match="not a decimal"):
        programme_from_proto(message)


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


def _fields(message: Descriptor) -> list[FieldDescriptor]:
    return list(message.fields)


def _collect(message: object, seen: set[str]) -> None:
    for field, value in message.ListFields():  # type: ignore[attr-defined]
        seen.add(field.full_name)
        if field.message_type is not None:
            for each in value if field.is_repeated else [value]:
                _collect(each, seen)
