"""Stored events are read for decades: each has its golden files, which are added once and never edited.

`make goldens` writes what is missing, for you to look at and commit; a changed shape needs a new version of the name.
"""

import pytest

from .samples import GOLDENS


@pytest.mark.parametrize("name", [*GOLDENS.samples, *GOLDENS.older])
def test_an_event_is_stored_and_read_as_its_golden_file_says(name: str) -> None:
    GOLDENS.check(name, GOLDENS.samples.get(name) or GOLDENS.older[name])


def test_every_version_of_every_event_is_pinned_with_all_it_may_say_and_no_more_than_it_must() -> None:
    assert GOLDENS.faults() == []
