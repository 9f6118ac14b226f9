"""What every test of the repository shares: the servers, and a summary that names them and says what was absent.

A folder of tests has no `__init__.py`: its modules are named by their path from this folder (`tests.system.stage`,
`libs.eventcore.tests.store_writer`), so that two folders named `tests` are two packages.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling

from tests.servers import SUBSTRATES, Servers, ServersMissing
from tests.servers import servers as servers_of

_RAN = pytest.StashKey[list[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--substrate",
        choices=SUBSTRATES,
        default="embedded",
        help="where Kafka and MongoDB come from: embedded (default), containers, or env "
        "(CREDENCE_TEST_KAFKA and CREDENCE_TEST_MONGO_URI)",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_RAN] = []
    if config.pluginmanager.hasplugin("xdist"):
        config.pluginmanager.register(_Workers())


_TOGETHER = ("tests/reliability/", "tests/system/")
# What takes longest goes first, so that no worker is left alone with it at the end.
_FIRST = (*_TOGETHER, "cli/")
# It fills the platform that all whole-system tests share: whatever is rebuilt or restored after it takes longer.
_LAST_OF_ITS_OWN = "tests/system/test_oulad_import.py"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> tuple[int, bool]:
        part = next((n for n, part in enumerate(_FIRST) if item.nodeid.startswith(part)), len(_FIRST))
        return part, item.nodeid.startswith(_LAST_OF_ITS_OWN)

    items.sort(key=place)


class _Workers:
    """Under xdist the servers run in the workers; the summary is the controller's."""

    @pytest.hookimpl
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> Any:
        """A worker a file, but for two folders that are one worker's each: the storms come one after the other, since
        side by side they would show an overrun machine and not their faults, and one platform serves all
        whole-system tests."""

        class Scheduler(LoadFileScheduling):  # type: ignore[misc]
            def _split_scope(self, nodeid: str) -> str:
                return next((part for part in _TOGETHER if nodeid.startswith(part)), super()._split_scope(nodeid))

        return Scheduler(config, log)

    @pytest.hookimpl
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        node.config.stash[_RAN] += getattr(node, "workeroutput", {}).get("servers", [])


@pytest.fixture(scope="session")
def servers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """A real Kafka and a MongoDB-protocol server for the whole session; each test takes topics and databases of its
    own. A test that stops or kills a server keeps one of its own."""
    substrate = str(request.config.getoption("--substrate"))
    with ExitStack() as stack:
        missing = ""
        try:
            running = stack.enter_context(servers_of(substrate, tmp_path_factory.mktemp("servers")))
        except ServersMissing as error:
            missing = str(error)
        if missing:
            pytest.fail(missing, pytrace=False)
        request.config.stash[_RAN].append(f"{running.software} ({substrate})")
        yield running


@pytest.fixture(scope="session")
def mongo_uri(servers: Servers) -> str:
    """The session's MongoDB-protocol server; each test takes a database of its own."""
    return servers.mongo_uri


def data_folder(root: Path) -> Path:
    """The public data that the import is tested on: CREDENCE_DATA, else beside the checkout."""
    return Path(os.environ.get("CREDENCE_DATA") or root.parent / "shared" / "data")


def _in_ci() -> bool:
    return bool(os.environ.get("CI"))


def _data_absent(config: pytest.Config) -> bool:
    return not (data_folder(config.rootpath) / "oulad").is_dir()


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["servers"] = session.config.stash[_RAN]
    if _data_absent(session.config) and _in_ci() and not session.exitstatus:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    ran: list[str] = sorted({*config.stash[_RAN]})
    terminalreporter.write_sep("-", "servers")
    terminalreporter.write_line("\n".join(ran) if ran else "none: no test of this run needed the shared servers")
    if _data_absent(config):
        terminalreporter.write_sep("!", "NO DATA", red=True, bold=True)
        terminalreporter.write_line(
            f"{data_folder(config.rootpath)} has no folder `oulad`: the import of real registrations was NOT tested. "
            "Name another place with CREDENCE_DATA." + (" In CI that is a failure." if _in_ci() else ""),
            red=True,
        )
