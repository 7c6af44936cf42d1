"""Which sources an image was made of, and that a step says so when it is another's."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tally import content
from tally.errors import SpecError

FILES = [("tally/a.py", b"1"), ("tally/b.py", b"2"), ("requirements/local.lock", b"numpy==2")]


def test_a_tag_is_of_names_and_bytes_in_any_order() -> None:
    tag = content.tag(FILES)
    assert tag == content.tag(reversed(FILES)) and len(tag) == 16
    assert tag != content.tag([("tally/a.py", b"2"), *FILES[1:]])
    assert tag != content.tag([("tally/c.py", b"1"), *FILES[1:]])
    # where one file ends and the next begins counts
    assert content.tag([("a", b"12"), ("b", b"")]) != content.tag([("a", b"1"), ("b", b"2")])


def project(folder: Path) -> Path:
    locks = [f"requirements/{name}.lock" for name in ("worker-gpu", "worker-tpu", "meter")]
    making = ["libraries.sh", "sbom.py", "trim.sh", "worker.Dockerfile", "meter.Dockerfile"]
    others = [*locks, *(f"images/{name}" for name in making), "tests/x.py"]
    for name, data in [*FILES, ("components/prepare.py", b"p"), *((name, b"") for name in others)]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        pytest.param("tally/machines/new.yaml", True, id="a price"),
        pytest.param("components/prepare.py", True, id="a component"),
        pytest.param("requirements/local.lock", True, id="the lock"),
        pytest.param("requirements/worker-gpu.lock", True, id="a variant's lock"),
        pytest.param("images/worker.Dockerfile", True, id="how it is made"),
        pytest.param("images/meter.Dockerfile", False, id="how another is made"),
        pytest.param("tally/__pycache__/a.cpython-311.pyc", False, id="bytecode"),
        pytest.param("tests/x.py", False, id="a test"),
        pytest.param("CONTENT", False, id="the tag itself"),
    ],
)
def test_what_runs_in_a_pod_counts(name: str, counts: bool, tmp_path: Path) -> None:
    before = content.tag_of(project(tmp_path))
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_bytes(b"changed")
    assert (content.tag_of(tmp_path) != before) is counts


def test_the_meters_image_has_a_tag_of_its_own(tmp_path: Path) -> None:
    before = content.tag_of(project(tmp_path), "meter")
    assert before != content.tag_of(tmp_path)
    (tmp_path / "components/prepare.py").write_bytes(b"changed")
    assert content.tag_of(tmp_path, "meter") == before
    (tmp_path / "requirements/meter.lock").write_bytes(b"changed")
    assert content.tag_of(tmp_path, "meter") != before


def test_sources_without_their_lock_are_refused(tmp_path: Path) -> None:
    (project(tmp_path) / "requirements/local.lock").unlink()
    with pytest.raises(SpecError, match=r"expected Tally's sources and requirements/local.lock"):
        content.tag_of(tmp_path)


def test_only_what_a_compiled_pipeline_expects_is_required(tmp_path: Path) -> None:
    content.require_expected({}, tmp_path)  # a laptop
    (tmp_path / content.FILE).write_text("0123456789abcdef\n")
    content.require_expected({content.EXPECTED: "0123456789abcdef"}, tmp_path)
    with pytest.raises(SpecError, match=r"content fedcba9876543210.*got 0123456789abcdef"):
        content.require_expected({content.EXPECTED: "fedcba9876543210"}, tmp_path)


@pytest.mark.timing
def test_a_step_in_another_image_fails_at_once_and_names_both(tally_home: Path) -> None:
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", "from tally.steps.image import require; require('bill')"],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, content.EXPECTED: "fedcba9876543210", "TALLY_RUN_ID": "a-run"},
    )
    assert done.returncode == 2, done.stderr
    assert "fedcba9876543210" in done.stderr and "got none" in done.stderr
    assert done.stderr.count("\n") == 1
    assert '"event": "failed"' in done.stdout  # told, so that whoever watches has the reason
    assert time.monotonic() - began < 5
