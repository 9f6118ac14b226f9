"""What the import adds to the data: said to be invented, whole, and without a fault of the catalogue."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from importlib.resources import files as resources
from pathlib import Path

import pytest
import yaml

import catalogue
from catalogue.proto import programme_from_proto, programme_to_proto
from cli.tests.oulad.samples import SAMPLE, write
from credence_cli.oulad import files, mapping
from credence_cli.oulad.mapping import MappingFault


def as_file(folder: Path, **changed: object) -> Path:
    text = resources("credence_cli.oulad").joinpath("mapping.yaml").read_text("utf-8")
    path = folder / "mapping.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(text) | changed), "utf-8")
    return path


def test_the_mapping_says_in_its_text_and_in_a_field_that_it_is_invented() -> None:
    text = resources("credence_cli.oulad").joinpath("mapping.yaml").read_text("utf-8")
    assert "are NOT in the data" in text
    assert mapping.load().source == "invented for the import"


def test_days_count_from_the_first_of_february_or_october(tmp_path: Path) -> None:
    data, assumed = files.read(write(tmp_path)), mapping.load()
    assert assumed.civil(data.courses["AAA-2013J"], 0) == date(2013, 10, 1)
    assert assumed.civil(data.courses["AAA-2013J"], -1) == date(2013, 9, 30)
    assert assumed.civil(data.courses["BBB-2013B"], 240) == date(2013, 9, 29)


def test_a_programme_has_the_presentations_assessments_and_the_final_result_that_earns_its_credit(
    tmp_path: Path,
) -> None:
    data, assumed = files.read(write(tmp_path)), mapping.load()
    programme = mapping.programme(data, data.courses["AAA-2013J"], assumed)
    assert catalogue.faults(programme) == []
    assert (programme.id, programme.version) == ("oulad-aaa", 2)
    kinds = {each.id: each.kind for each in programme.assessments}
    assert kinds == {"11": "coursework", "12": "computer-marked", "13": "exam", "final": "overall"}
    (award,) = programme.awards
    assert award.credit is not None
    assert (award.credit.credits, award.credit.ects, award.confirmation) == (Decimal(60), Decimal(30), "automatic")
    assert programme_from_proto(programme_to_proto(programme)) == programme


def test_a_pass_is_the_pass_mark_or_more() -> None:
    assumed = mapping.load()
    assert assumed.passed(Decimal(40))
    assert not assumed.passed(Decimal("39.9"))


def test_a_module_or_presentation_the_mapping_does_not_know_is_named(tmp_path: Path) -> None:
    unknown = {name.removesuffix(".csv"): text.replace("BBB", "ZZZ") for name, text in SAMPLE.items()}
    data = files.read(write(tmp_path / "a", **unknown))
    with pytest.raises(MappingFault, match="modules: ZZZ is in the data"):
        mapping.programme(data, data.courses["ZZZ-2013B"], mapping.load())
    later = {name.removesuffix(".csv"): text.replace("2013B", "2014B") for name, text in SAMPLE.items()}
    data = files.read(write(tmp_path / "b", **later))
    with pytest.raises(MappingFault, match="presentations: 2014B is in the data"):
        mapping.programme(data, data.courses["BBB-2014B"], mapping.load())


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"source": "the university"}, "source: Input should be 'invented for the import'"),
        ({"pass_mark": 40.5}, "pass_mark: "),
        ({"confirmation": "board"}, "confirmation: "),
        (
            {"modules": {"AAA": {"programme": "AAA", "title": "x", "credits": 60, "level": 6}}},
            "modules.AAA.programme: ",
        ),
        ({"attendance": "none"}, "attendance: "),
    ],
)
def test_a_fault_of_a_mapping_file_names_its_field(tmp_path: Path, changed: dict[str, object], message: str) -> None:
    with pytest.raises(MappingFault) as caught:
        mapping.load(as_file(tmp_path, **changed))
    assert message in str(caught.value)


def test_a_mapping_that_is_absent_or_no_yaml_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(MappingFault, match="cannot be read: No such file"):
        mapping.load(tmp_path / "nowhere.yaml")
    (tmp_path / "bad.yaml").write_text("a: [", "utf-8")
    with pytest.raises(MappingFault, match="is no YAML"):
        mapping.load(tmp_path / "bad.yaml")
