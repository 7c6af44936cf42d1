"""A cluster without a meter: its runs end as well, and say why there is no bill."""

import os
import subprocess
import sys
from pathlib import Path


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
