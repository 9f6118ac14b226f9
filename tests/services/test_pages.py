"""The page of a service that lists its views lists all of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from enrolment.main import PARTS as ENROLMENT
from mentoring.main import PARTS as MENTORING
from servicekit.runtime import Parts

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("parts", [ENROLMENT, MENTORING], ids=lambda parts: str(parts.name))
def test_a_service_s_page_names_every_view(parts: Parts) -> None:
    page = (ROOT / "services" / parts.name / "README.md").read_text(encoding="utf-8")
    (section,) = re.findall(r"^## Views\n(.*?)^## ", page, re.MULTILINE | re.DOTALL)
    assert {view.name for view in parts.views} <= set(re.findall(r"`([^`]+)`", section))
