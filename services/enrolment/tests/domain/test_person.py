from enrolment.domain.person import (
    PERSON,
    ErasePerson,
    NamePerson,
    Person,
    PersonErased,
    PersonNamed,
    PersonRegistered,
    RegisterPerson,
)
from eventcore.personal import Sealed
from eventcore.testing import given


def sealed(field: str, value: str) -> Sealed:
    return Sealed(person="learner-01", field=field, box=value)


NAME, OTHER_NAME = sealed("name", "box-1"), sealed("name", "box-2")
EMAIL, OTHER_EMAIL = sealed("email", "box-3"), sealed("email", "box-4")
REGISTERED = PersonRegistered(name=NAME, email=EMAIL)
NAMELESS = PersonRegistered(name=None, email=None)


def test_a_person_is_registered_with_what_is_known() -> None:
    given(PERSON).when(RegisterPerson(name=NAME, email=EMAIL)).then(REGISTERED)
    given(PERSON).when(RegisterPerson(name=None, email=None)).then(NAMELESS)


def test_registering_with_the_same_details_again_changes_nothing() -> None:
    again = RegisterPerson(name=NAME, email=EMAIL)
    given(PERSON, REGISTERED).when(again).then_nothing()
    given(PERSON, REGISTERED, PersonNamed(name=OTHER_NAME)).when(again).then_nothing()


def test_registering_without_details_contradicts_nothing() -> None:
    given(PERSON, REGISTERED).when(RegisterPerson(name=None, email=None)).then_nothing()


def test_registering_with_other_details_is_a_conflict_that_names_each() -> None:
    other = RegisterPerson(name=OTHER_NAME, email=OTHER_EMAIL)
    assert given(PERSON, REGISTERED).when(other).then_refused("person-differs", "name", "email").conflict


def test_a_person_is_renamed() -> None:
    given(PERSON, REGISTERED).when(NamePerson(name=OTHER_NAME)).then(PersonNamed(name=OTHER_NAME))
    given(PERSON, NAMELESS).when(NamePerson(name=NAME)).then(PersonNamed(name=NAME))


def test_the_same_name_again_changes_nothing() -> None:
    given(PERSON, REGISTERED).when(NamePerson(name=NAME)).then_nothing()


def test_somebody_who_is_not_registered_cannot_be_named() -> None:
    given(PERSON).when(NamePerson(name=NAME)).then_refused("not-registered")


ERASED = PersonErased(reason_code="person-asked")


def test_a_person_is_erased_and_nothing_sealed_is_left_of_them() -> None:
    given(PERSON, REGISTERED).when(ErasePerson(reason_code="person-asked")).then(ERASED)
    given(PERSON, REGISTERED, PersonNamed(name=OTHER_NAME), ERASED).then_state(Person(registered=True, erased=True))


def test_a_person_who_never_registered_is_erased_as_well() -> None:
    given(PERSON).when(ErasePerson(reason_code="person-asked")).then(ERASED)


def test_erasing_twice_changes_nothing_whatever_the_reason() -> None:
    given(PERSON, REGISTERED, ERASED).when(ErasePerson(reason_code="retention-ended")).then_nothing()


def test_an_erased_person_is_neither_registered_nor_named_again() -> None:
    for erased in (given(PERSON, REGISTERED, ERASED), given(PERSON, ERASED)):
        erased.when(RegisterPerson(name=NAME, email=EMAIL)).then_refused("person-erased")
        erased.when(RegisterPerson(name=None, email=None)).then_refused("person-erased")
        erased.when(NamePerson(name=NAME)).then_refused("person-erased")
