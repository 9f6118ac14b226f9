"""Nothing in domain, application or views reads a clock, makes an id or rolls a die: ruff's ban catches each way."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .conftest import ROOT, Copy

SERVICES = ("enrolment", "accreditation", "mentoring")
BANNED = {
    "datetime.datetime.now": "import datetime\nWHEN = datetime.datetime.now(datetime.UTC)",
    "from datetime import datetime": "from datetime import datetime, UTC\nWHEN = datetime.now(UTC)",
    "datetime.datetime.utcnow": "import datetime\nWHEN = datetime.datetime.utcnow()",
    "datetime.date.today": "from datetime import date\nON = date.today()",
    "time.time": "import time\nWHEN = time.time()",
    "uuid.uuid4": "from uuid import uuid4\nID = uuid4()",
    "random": "import random\nDIE = random.randint(1, 6)",
}
CHECK = ("ruff", "check", "--no-cache", "--select", "TID251", "--output-format", "json", "services")


def caught(copy: Copy) -> set[str]:
    """The planted files, by their path from the copy's root, in which the ban found something."""
    told = json.loads(copy.run(*CHECK).stdout)
    return {str(Path(fault["filename"]).relative_to(copy.root.resolve())) for fault in told}


@pytest.fixture(scope="module")
def found(copy: Copy) -> set[str]:
    for service in SERVICES:
        for room in ("domain", "application", "views", "api"):
            for i, text in enumerate(BANNED.values()):
                copy.plant(f"{service}.{room}.planted_{i}", text)
    return caught(copy)


@pytest.mark.parametrize("room", ["domain", "application", "views"])
@pytest.mark.parametrize("way", BANNED)
def test_the_ban_catches(found: set[str], room: str, way: str) -> None:
    at = list(BANNED).index(way)
    for service in SERVICES:
        assert f"services/{service}/src/{service}/{room}/planted_{at}.py" in found


def test_the_edges_may(found: set[str]) -> None:
    assert not [name for name in found if "/api/" in name]


def test_the_sources_break_no_ban() -> None:
    assert not caught(Copy(ROOT))
