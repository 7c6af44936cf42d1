"""`tally quote`, and what submit does with a quote: real profiles, real runs, a real terminal."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from helpers.command import QUICK, submit_json, tally
from tally.costing.ledger import open_ledger
from tally.errors import SpecError
from tally.runs.consent import Consent
from tally.runs.quotes import PROFILE_SECONDS

pytestmark = pytest.mark.usefixtures("one_home")


@pytest.fixture(scope="module")
def run(home: Path) -> dict[str, Any]:
    """The only run of this file, measured by a quote before: submit does that for longer ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TALLY_HOME", str(home))
        assert tally("quote", "cnn", *QUICK).returncode == 0
        return submit_json("cnn", *QUICK)


@pytest.mark.timing
def test_a_quote_measures_once_in_time_and_then_knows(
    tally_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TALLY_HOME", str(tally_home))  # of its own: nothing is known yet
    began = time.monotonic()
    done = tally("quote", "cnn", *QUICK, "--json")
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - began < PROFILE_SECONDS + 10  # a busy machine starts Python slowly
    document = json.loads(done.stdout)
    rows = document["rows"]
    picked = rows[document["picked"]]
    assert (picked["machine_type"], picked["workers"], picked["basis"]) == ("local", 1, "measured")
    for row in rows:
        assert row["low_usd"] <= row["expected_usd"] <= row["high_usd"]
        assert row["low_seconds"] <= row["expected_seconds"] <= row["high_seconds"]
    parts = picked["hardware_usd"] + picked["software_usd"] + picked["time_usd"]
    assert parts == pytest.approx(picked["expected_usd"])
    again = json.loads(tally("quote", "cnn", *QUICK, "--json").stdout)
    assert again["rows"][0]["step_seconds"] == picked["step_seconds"]  # not measured anew
    assert not (tally_home / "runs").exists()


@pytest.mark.timing
def test_a_run_is_quoted_first_and_scored_last(run: dict[str, Any], home: Path) -> None:
    quote = open_ledger().quote(run["id"])
    assert quote is not None and quote.low_usd < quote.expected_usd < quote.high_usd
    folder = next((home / "runs" / run["id"] / "kfp" / "attempt-1").iterdir())
    said = json.loads((folder / "plan" / "executor_output.json").read_text())
    figures = said["artifacts"]["metrics"]["artifacts"][0]["metadata"]
    assert figures["expected_usd"] == pytest.approx(quote.expected_usd)
    assert said["parameterValues"]["Output"]["workers"] == 1
    assert "What if" in (folder / "plan" / "page").read_text()
    assert "quoted $" in (folder / "bill" / "page").read_text()
    found = json.loads(tally("quote", "--accuracy", "--json").stdout)
    (score,) = found["runs"]
    assert score["run_id"] == run["id"] and found["all"]["runs"] == 1
    assert score["billed_usd"] == pytest.approx(run["bill"]["total_usd"])
    assert score["billed_seconds"] == pytest.approx(run["bill"]["wall_seconds"])
    assert "measured" in tally("quote", "--accuracy").stdout
    page = Path(tally("report", run["id"]).stdout.strip()).read_text()
    assert "What was quoted" in page and "half the data" in page


@pytest.mark.timing
def test_the_next_quote_knows_the_run_that_is_over(run: dict[str, Any]) -> None:
    done = json.loads(tally("quote", "cnn", *QUICK, "--json").stdout)
    took = open_ledger().bill(run["id"]).wall_seconds
    assert done["rows"][done["picked"]]["expected_seconds"] == pytest.approx(took, rel=0.5)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        pytest.param(["budget_usd=0"], ["budget_usd", "more than 0", "got 0"], id="budget 0"),
        pytest.param(["deadline=2020-01-01T00:00Z"], ["deadline", "to come", "passed"], id="past"),
        pytest.param(["min_workers=3", "workers=2"], ["min_workers", "got 3"], id="min over max"),
        pytest.param(
            ["objective=budget", "budget_usd=0.0001"],
            ["budget_usd", "low end of the cheapest", "got $0.0001", "pass SET"],
            id="budget that nothing meets",
        ),
        pytest.param(
            ["objective=deadline", "deadline=1s"],
            ["deadline", "low end of the fastest", "pass SET"],
            id="deadline that nothing meets",
        ),
    ],
)
@pytest.mark.parametrize("command", ["quote", "submit"])
def test_what_nothing_meets_is_one_line_and_makes_no_run(
    command: str, settings: list[str], says: list[str], home: Path
) -> None:
    before = {path.name for path in (home / "runs").glob("*")}
    done = tally(command, "cnn", *QUICK, *(w for one in settings for w in ("--set", one)))
    assert done.returncode == 2, (done.stdout, done.stderr)
    (line,) = [line for line in done.stderr.splitlines() if line.strip()]
    for words in says:
        assert words in line
    assert {path.name for path in (home / "runs").glob("*")} == before


def test_above_the_limit_anything_but_a_terminal_needs_yes(home: Path) -> None:
    done = tally("submit", "cnn", *QUICK, TALLY_CONFIRM_ABOVE_USD="0.0001")
    assert done.returncode == 2
    assert "--yes" in done.stderr and "$0.00" in done.stderr and done.stderr.count("\n") == 1
    pipe = Console(file=open("/dev/null", "w"))  # noqa: SIM115
    with pytest.raises(SpecError, match="expected --yes"):
        Consent(above_usd=5.0).require(pipe, 5.01, 6.0, "cnn")
    Consent(above_usd=5.0).require(pipe, 5.0, 6.0, "cnn")
    Consent(yes=True, above_usd=5.0).require(pipe, 500.0, 600.0, "cnn")
