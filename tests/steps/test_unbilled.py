"""A cluster without a meter: its runs end as well, and say why there is no bill."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.ports import HeldPort


def test_a_run_does_not_fail_for_want_of_a_meter(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    code = f"from tally.steps.bill import run; print('MADE', run({str(page)!r}))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120,
        env={**os.environ, "TALLY_POD": "bill-x", "TALLY_RUN_ID": "run-a"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "MADE {}" in done.stdout
    assert "TALLY_POD_METER_URL" in page.read_text()
    assert '"unbilled"' in done.stdout


@pytest.mark.timeout(180)
def test_a_run_does_not_fail_because_its_meter_is_gone(tmp_path: Path) -> None:
    page, token = tmp_path / "page.html", tmp_path / "token"
    token.write_text("one")
    code = f"from tally.steps.bill import run; print('MADE', run({str(page)!r}))"
    with HeldPort() as held:  # nobody listens there
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=150,
            env={**os.environ, "TALLY_POD": "bill-x", "TALLY_RUN_ID": "run-a",
                 "TALLY_METER_URL": f"http://127.0.0.1:{held.number}",
                 "TALLY_METER_TOKEN_FILE": str(token)},
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "MADE {}" in done.stdout
    assert "`tally bill run-a` has it" in page.read_text()
