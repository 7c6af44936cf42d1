"""What the probe's pod does: list the store as a step would reach it, and say so in one line."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.s3 import KEYS, serving_bucket

PROJECT = Path(__file__).parents[1]


@pytest.fixture
def objects() -> Iterator[str]:
    """An S3 server with the bucket `there`."""
    with serving_bucket("there") as url:
        yield url


def probe(tmp_path: Path, **environment: str) -> tuple[int, str]:
    """Its exit code, and what it leaves for its pod's status."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    words = tmp_path / "termination-log"
    done = subprocess.run(
        [sys.executable, "-m", "tally.buckets.probing", str(words)],
        env={**kept, **KEYS, **environment}, cwd=PROJECT, capture_output=True, text=True,
        timeout=60,
    )  # fmt: skip
    assert done.stdout == words.read_text() + "\n" and done.stderr == ""
    assert "\n" not in words.read_text()
    return done.returncode, words.read_text()


def test_the_first_server_that_is_there_is_listed(tmp_path: Path, objects: str) -> None:
    both = {"TALLY_STORE_ENDPOINTS": f"http://none.invalid:8333 {objects}"}
    assert probe(tmp_path, TALLY_STORE="s3://there/tally", **both) == (
        0, f"s3://there/tally at {objects} can be listed"
    )  # fmt: skip
    code, words = probe(tmp_path, TALLY_STORE="s3://gone/tally", **both)
    assert code == 1 and words.startswith("s3://gone/tally/doctor: expected")


def test_no_server_is_one_line(tmp_path: Path) -> None:
    code, words = probe(tmp_path, TALLY_STORE="s3://b1", TALLY_STORE_ENDPOINTS="http://a.invalid:1")
    assert code == 1 and words.startswith("store: expected an address of a.invalid, got n")


def test_a_volume_is_listed_too(tmp_path: Path) -> None:
    assert probe(tmp_path, TALLY_STORE=str(tmp_path)) == (0, f"{tmp_path} can be listed")
    code, words = probe(tmp_path, TALLY_STORE=str(tmp_path / "none"))
    assert code == 1 and "expected a folder that can be listed, got 'No such file" in words
