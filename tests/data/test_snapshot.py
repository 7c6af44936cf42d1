"""A source as it was at a moment."""

import os
from pathlib import Path

import pytest

from tally.data import snapshot
from tally.errors import DataError

MOMENT = 1_700_000_000
MICROSECONDS = MOMENT * 1_000_000


def source(folder: Path, *written: tuple[str, int]) -> Path:
    """A folder of files written so many seconds after the moment."""
    for name, after in written:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
        os.utime(path, (MOMENT + after, MOMENT + after))
    return folder


def names(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_what_was_written_later_is_left_out(tmp_path: Path) -> None:
    folder = source(tmp_path / "x", ("a/1", -5), ("a/2", 0), ("b/3", 1))
    seen = snapshot.view(folder, MICROSECONDS)
    assert names(seen) == ["a/1", "a/2"] and seen.name == "x"
    assert (seen / "a/1").read_text() == "a/1"
    assert names(snapshot.view(folder, MICROSECONDS + 2_000_000)) == ["a/1", "a/2", "b/3"]
    assert snapshot.view(folder, MICROSECONDS + 2_000_000) == folder  # nothing to leave out


def test_a_view_does_not_change_when_files_come_and_follows_when_they_go(tmp_path: Path) -> None:
    folder = source(tmp_path / "x", ("1", -5), ("2", -4), ("3", 9))
    before = snapshot.view(folder, MICROSECONDS)
    source(folder, ("4", 20))
    assert snapshot.view(folder, MICROSECONDS) == before and names(before) == ["1", "2"]
    os.utime(folder / "2", (MOMENT + 30, MOMENT + 30))  # overwritten: what it was is gone
    assert names(snapshot.view(folder, MICROSECONDS)) == ["1"]
    (folder / "2").unlink()
    assert names(snapshot.view(folder, MICROSECONDS)) == ["1"]


def test_nothing_that_old_is_an_error_that_says_so(tmp_path: Path) -> None:
    folder = source(tmp_path / "x", ("1", 5))
    with pytest.raises(DataError, match="got 1 written after it; choose a later snapshot"):
        snapshot.view(folder, MICROSECONDS)
    file = source(tmp_path / "y", ("z.csv", 5)) / "z.csv"
    with pytest.raises(DataError, match="choose a later snapshot"):
        snapshot.view(file, MICROSECONDS)
    assert snapshot.view(file, MICROSECONDS + 6_000_000) == file
