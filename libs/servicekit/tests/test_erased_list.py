"""The list of who was erased, which somebody wrote and a restore follows: read whole and rightly, or not at all."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from servicekit.backup.__main__ import UNUSABLE, main
from servicekit.backup.files import BackupUnusable, erased_in


def listed(folder: Path, content: bytes) -> Path:
    path = folder / "erased.txt"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    "content",
    [
        b"sample-1\nsample-2\n",
        b"\xef\xbb\xbfsample-1\r\nsample-2",
        b"\n  sample-1 \n\nsample-2\t\nsample-1\n",
    ],
    ids=["as we write it", "as an editor of Windows does", "by hand"],
)
def test_a_list_is_read_as_it_is_meant(tmp_path: Path, content: bytes) -> None:
    assert erased_in(listed(tmp_path, content)) == ["sample-1", "sample-2"]


def test_an_empty_list_names_nobody(tmp_path: Path) -> None:
    assert erased_in(listed(tmp_path, b"")) == []


@pytest.mark.parametrize(
    ("content", "wrong"),
    [
        (b"sample-1\nSample-2\n", ["line 2: 'Sample-2'"]),
        (b"sample_1\nsample-2\nsample-3 sample-4\n", ["line 1: 'sample_1'", "line 3: 'sample-3 sample-4'"]),
        (b"sample-1\nsampl\xe9-2\n", ["line 2: 'sampl\ufffd-2'"]),
        ("sample-1\n".encode("utf-16"), ["line 1: ", "line 2: '\\x00'"]),
        (
            b"x" * 31 + b"\n" + b"x" * 30 + b"\n" + b"y" * 99,
            ["line 1: '" + "x" * 31 + "'", "line 3: '" + "y" * 40 + "'"],
        ),
    ],
    ids=["a capital", "two of three", "another encoding", "two bytes a letter", "too long"],
)
def test_a_list_with_a_line_that_is_no_id_is_refused_naming_every_one(
    tmp_path: Path, content: bytes, wrong: list[str]
) -> None:
    with pytest.raises(BackupUnusable, match="nothing was restored") as refused:
        erased_in(listed(tmp_path, content))
    said = str(refused.value)
    assert all(each in said for each in wrong)
    assert said.count("line ") == len(wrong)


def test_a_restore_is_refused_for_its_list_before_it_looks_at_anything_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """There are no settings, no backup and no database: none of them is come to."""
    words = [
        "restore",
        "--from",
        "nowhere",
        "--keys",
        "nowhere",
        "--erased",
        str(listed(tmp_path, b"sample-1\n\xff\n")),
    ]
    monkeypatch.setattr(sys, "argv", ["backup", *words])

    assert main() == UNUSABLE

    told = capsys.readouterr().err
    assert "line 2" in told
    assert "Traceback" not in told
