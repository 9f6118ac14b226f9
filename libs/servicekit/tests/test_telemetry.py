"""Logs carry ids and never payloads; a trace goes on across a string."""

from __future__ import annotations

import ast
import importlib
import json
import logging
from pathlib import Path
from typing import Any

import pytest
import structlog
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan

import eventcore.event
from servicekit.telemetry import EXTRA, span_from, start_logging, start_tracing, traceparent


@pytest.fixture(autouse=True)
def telemetry() -> None:
    start_tracing("sample")


class Person:
    def __repr__(self) -> str:
        return "Sample Learner 01"


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_a_line_names_its_service_and_its_trace(capsys: pytest.CaptureFixture[str]) -> None:
    start_logging("sample")
    with span_from(None, "work"):
        expected = traceparent().split("-")
        structlog.get_logger("module").info("stored", stream="cohort-1", version=3)
    (line,) = lines(capsys)
    assert line["event"] == "stored"
    assert (line["service"], line["logger"], line["level"]) == ("sample", "module", "info")
    assert (line["stream"], line["version"]) == ("cohort-1", 3)
    assert [line["trace_id"], line["span_id"]] == expected[1:3]
    assert line["timestamp"].endswith("Z")


def test_what_is_not_a_scalar_is_dropped_and_long_text_is_cut(capsys: pytest.CaptureFixture[str]) -> None:
    start_logging("sample")
    structlog.get_logger("module").info("odd", person=Person(), body={"name": "x"}, text="a" * 5000, names=["a", "b"])
    (line,) = lines(capsys)
    assert line["person"] == "<Person dropped>"
    assert line["body"] == "<dict dropped>"
    assert len(line["text"]) == 1000
    assert line["names"] == ["a", "b"]


def test_a_line_of_the_standard_library_keeps_the_ids_we_know_and_nothing_else(
    capsys: pytest.CaptureFixture[str],
) -> None:
    start_logging("sample")
    logging.getLogger("eventcore.kafka").warning(
        "kafka-record-refused", extra={"ce_id": "cohort-1@7", "error": Person(), "body": "Sample Learner 01"}
    )
    (line,) = lines(capsys)
    assert (line["event"], line["ce_id"], line["error"]) == ("kafka-record-refused", "cohort-1@7", "<Person dropped>")
    assert "Sample Learner" not in json.dumps(line)


def test_every_extra_of_the_kernels_lines_is_one_we_know() -> None:
    given: set[object] = set()
    for file in Path(eventcore.event.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.keyword) and node.arg == "extra" and isinstance(node.value, ast.Dict):
                given |= {key.value for key in node.value.keys if isinstance(key, ast.Constant)}
    assert given == set(EXTRA)


def test_a_traceback_shows_where_and_not_what(capsys: pytest.CaptureFixture[str]) -> None:
    start_logging("sample")
    for log in (structlog.get_logger("module").exception, logging.getLogger("library").exception):
        try:
            try:
                raise ConnectionRefusedError("port 27017 refused")
            except OSError as error:
                raise ValueError("Sample Learner 01") from error
        except ValueError:
            log("failed")
    for line in lines(capsys):
        assert line["event"] == "failed"
        assert "builtins.ValueError" in line["exception"]
        assert "test_telemetry.py" in line["exception"]
        assert "port 27017 refused" in line["exception"]
        assert "Sample Learner" not in json.dumps(line)


def test_libraries_are_quiet_below_warning(capsys: pytest.CaptureFixture[str]) -> None:
    importlib.import_module("faststream.kafka")  # brings a handler of its own, as in every service
    start_logging("sample", "INFO")
    for name in ("aiokafka.consumer", "faststream", "grpc", "kafka"):
        logging.getLogger(name).info("chatter")
        logging.getLogger(name).warning("trouble %s", 7)
    assert [(line["event"], line["level"]) for line in lines(capsys)] == [("trouble 7", "warning")] * 4


def test_a_trace_goes_on_across_a_string() -> None:
    with span_from(None, "command"):
        carried = traceparent()
    assert traceparent() == ""
    with span_from(carried, "fold"):
        assert traceparent().split("-")[1] == carried.split("-")[1]
        assert traceparent() != carried
        outer = traceparent()
        with span_from("", "inner"):
            assert traceparent().split("-")[1] == outer.split("-")[1]


def test_a_malformed_parent_starts_a_new_trace() -> None:
    with span_from("nonsense", "fold"):
        assert traceparent()


def test_a_failure_marks_its_span_by_type_only() -> None:
    with pytest.raises(ValueError, match="Sample"), span_from(None, "work") as failed:
        raise ValueError("Sample Learner 01")
    assert isinstance(failed, ReadableSpan)
    assert failed.status.status_code is trace.StatusCode.ERROR
    assert failed.status.description == "ValueError"
    assert not failed.events
