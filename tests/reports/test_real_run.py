"""A real run's own page: real training, real usage, `tally report`, a real browser."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from browser import Browser
from looking import look

PROJECT = Path(__file__).parents[2]


def tally(*arguments: str) -> str:
    command = [sys.executable, "-m", "tally", *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=PROJECT, timeout=240
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.program("chromium")
def test_the_page_of_a_real_run_has_every_plot_and_the_bills_total(
    browser: Browser, tmp_path: Path
) -> None:
    tally("submit", "cnn", "--set", "epochs=2", "--set", "augment=1")
    (run,) = json.loads(tally("runs", "--json"))["runs"]
    page = tmp_path / "report.html"
    tally("report", run["id"], "--out", str(page))
    marks = look(browser, page)
    assert {"Training loss", "Training accuracy", "Confusion matrix"} <= set(marks)
    assert marks["Timeline of the run"] >= 4
    text = browser.evaluate("document.body.innerText")
    bill = tally("bill", run["id"])
    total = next(line for line in bill.splitlines() if "total" in line).split("$")[1].split()[0]
    assert f"${total}" in text
    assert f"{100 * run['metrics']['test_accuracy']:.1f} %" in text
