from enrolment.domain.person import PERSON, NamePerson, PersonNamed, PersonRegistered, RegisterPerson
from eventcore.personal import Sealed
from eventcore.testing import given


def sealed(field: str, value: str) -> Sealed:
    return Sealed(person="learner-01", field=field, box=value)


NAME, OTHER_NAME = sealed("name", "box-1"), sealed("name", "box-2")
EMAIL, OTHER_EMAIL = sealed("email", "box-3"), sealed("email", "box-4")
REGISTERED = PersonRegistered(name=NAME, email=EMAIL, email_index="index")
NAMELESS = PersonRegistered(name=None, email=None, email_index=None)


def test_a_person_is_registered_with_what_is_known() -> None:
    given(PERSON).when(RegisterPerson(name=NAME, email=EMAIL, email_index="index")).then(REGISTERED)
    given(PERSON).when(RegisterPerson(name=None, email=None, email_index=None)).then(NAMELESS)


def test_registering_with_the_same_details_again_changes_nothing() -> None:
    again = RegisterPerson(name=NAME, email=EMAIL, email_index="index")
    given(PERSON, REGISTERED).when(again).then_nothing()
    given(PERSON, REGISTERED, PersonNamed(name=OTHER_NAME)).when(again).then_nothing()


def test_registering_without_details_contradicts_nothing() -> None:
    given(PERSON, REGISTERED).when(RegisterPerson(name=None, email=None, email_index=None)).then_nothing()


def test_registering_with_other_details_is_a_conflict_that_names_each() -> None:
    other = RegisterPerson(name=OTHER_NAME, email=OTHER_EMAIL, email_index="other")
    assert given(PERSON, REGISTERED).when(other).then_refused("person-differs", "name", "email").conflict


def test_a_person_is_renamed() -> None:
    given(PERSON, REGISTERED).when(NamePerson(name=OTHER_NAME)).then(PersonNamed(name=OTHER_NAME))
    given(PERSON, NAMELESS).when(NamePerson(name=NAME)).then(PersonNamed(name=NAME))


def test_the_same_name_again_changes_nothing() -> None:
    given(PERSON, REGISTERED).when(NamePerson(name=NAME)).then_nothing()


def test_somebody_who_is_not_registered_cannot_be_named() -> None:
    given(PERSON).when(NamePerson(name=NAME)).then_refused("not-registered")
