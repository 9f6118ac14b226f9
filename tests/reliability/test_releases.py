"""The release before this one is what it is said to be, or it is said what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reliability import releases


def test_a_release_that_the_history_no_longer_has_is_told_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(releases.NoHistory, match=r"0123456789ab\) is not here .* fetch --unshallow"):
        releases.unpacked("0123456789ab" * 3 + "0123", tmp_path)


def test_a_release_that_locked_other_packages_shares_no_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(releases, "LOCK", "CHANGELOG.md")  # as good as another lock: it differs
    try:
        with pytest.raises(releases.OtherLock, match=r"Name .* a later BASELINE"):
            releases.unpacked(releases.BASELINE, tmp_path)
    except releases.NoHistory as error:
        pytest.skip(str(error))
