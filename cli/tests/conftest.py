"""What the tests of the command share: a home of its own, and the command run in this process or as one of its own."""

from __future__ import annotations

import pytest

from cli.tests.running import Home
from credence_cli.embedded.kafka_jars import kafka_jars


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A CREDENCE_HOME without anything in it but Kafka's jars, which are fetched once for all."""
    folder = tmp_path_factory.mktemp("credence home")
    jars = kafka_jars()[0].parent
    (folder / jars.name).symlink_to(jars)
    return Home(folder)
