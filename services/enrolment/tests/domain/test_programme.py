from catalogue.model import Always, Award, Duration, Organisation, Programme
from enrolment.domain.programme import PROGRAMME, LoadProgramme, ProgrammeLoaded
from eventcore.testing import given

FIRST = Programme(
    credence=1,
    id="short-course",
    version=1,
    title="Short course",
    owner=Organisation(id="owner", title="Owner"),
    duration=Duration(min_months=1, max_months=1),
    awards=(Award(id="done", title="Done", kind="completion", rule=Always(check="always"), confirmation="automatic"),),
)


def test_a_programme_version_is_loaded_whole() -> None:
    given(PROGRAMME).when(LoadProgramme(programme=FIRST)).then(ProgrammeLoaded(programme=FIRST))


def test_loading_the_same_content_again_changes_nothing() -> None:
    given(PROGRAMME, ProgrammeLoaded(programme=FIRST)).when(LoadProgramme(programme=FIRST)).then_nothing()


def test_other_content_under_a_loaded_version_is_a_conflict_that_names_the_fields() -> None:
    changed = FIRST.model_copy(update={"title": "Shorter course"})
    refusal = (
        given(PROGRAMME, ProgrammeLoaded(programme=FIRST))
        .when(LoadProgramme(programme=changed))
        .then_refused("version-immutable", "title")
    )
    assert refusal.conflict
    assert [name for name, _ in refusal.fields] == ["title"]
