"""A real run's own page: real training, real usage, `tally report`, a real browser."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from helpers.browser import Browser
from helpers.reports.looking import look

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
    browser: Browser, tmp_path: Path, tally_home: Path
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
    assert {"Calibration", "ROC", "Accuracy against latency"} <= set(marks)
    evaluation = json.loads((tally_home / "runs" / run["id"] / "evaluation.json").read_text())
    assert evaluation["candidates"] and evaluation["verdict"]["promote"]
    assert_shown_is(evaluation, browser.evaluate(SHOWN))


SHOWN = "[...document.querySelectorAll('[data-key]')].map(e => ({...e.dataset, text: e.innerText}))"


def assert_shown_is(document: dict[str, Any], shown: list[dict[str, str]]) -> None:
    """Every number that has a key is the document's, and its text is that number rounded."""
    assert len(shown) > 30
    for each in shown:
        at: Any = document
        for part in each["key"].split("."):
            at = at[int(part)] if isinstance(at, list) else at[part]
        assert float(each["value"]) == at, each
        figure = re.search(r"\d[\d,]*(\.\d+)?(e-?\d+)?", each["text"].replace("\xa0", ""))
        assert figure, each
        scale = 100 if "%" in each["text"] else 1e3 if each["text"].endswith("ms") else 1
        told = float(figure[0].replace(",", ""))
        if each["text"].startswith("<"):
            assert 0 < scale * at < told, each
        else:
            assert told == pytest.approx(scale * at, rel=6e-3, abs=6e-3), each
