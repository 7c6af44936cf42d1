"""A run that reaches its budget or its deadline: it stops in time, and a higher one goes on.

Submit refuses a budget that the quote says is too small; a run that goes on may have any that is
more than it has cost.
"""

from pathlib import Path
from typing import Any

import pytest

from helpers.command import Live, events, interrupt_group, tally
from tally import clock
from tally.costing.ledger import open_ledger

LONG = ["cnn", "--set", "augment=1", "--set", "epochs=10000"]
USD_PER_SECOND = 1.10 / 3600


def only(found: list[dict[str, Any]], kind: str, attempt: int) -> dict[str, Any]:
    (event,) = (e for e in found if e["event"] == kind and e["attempt"] == attempt)
    return event


def usd(run_id: str) -> float:
    return float(open_ledger().bill(run_id).total_usd)


@pytest.fixture
def begun(tally_home: Path) -> str:
    """A run without limits that was interrupted in training."""
    with Live(tally_home, *LONG) as live:
        live.until("progress")
        live.end(interrupt_group)
    return live.run_id


@pytest.mark.slow
def test_a_budget_that_leaves_nothing_for_training_starts_no_worker(
    tally_home: Path, begun: str
) -> None:
    done = tally("resume", begun, "--set", f"budget_usd={usd(begun) + USD_PER_SECOND:.6f}")
    assert done.returncode == 1
    run = open_ledger().run(begun)
    assert run is not None
    assert "got no example yet" in run.error
    second = {e["event"] for e in events(tally_home, begun) if e["attempt"] == 2}
    assert "stopped" in second
    assert "generation" not in second


@pytest.mark.timing
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_budget_stops_a_run_in_time_and_a_higher_one_goes_on(
    tally_home: Path, begun: str
) -> None:
    budget = usd(begun) + 25 * USD_PER_SECOND
    done = tally("resume", begun, "--set", f"budget_usd={budget:.6f}")
    assert done.returncode == 1
    assert budget * 0.8 < usd(begun) < 1.02 * budget
    stopped = only(events(tally_home, begun), "stopped", 2)
    assert stopped["reason"] == "budget"
    assert 0 < stopped["remaining_examples"] < 14_370_000
    assert "kept in a checkpoint" in done.stderr
    assert f'make resume RUN={begun} SET="budget_usd=' in done.stderr

    refused = tally("resume", begun)
    assert refused.returncode == 2
    assert "budget_usd: expected more than" in refused.stderr
    other = tally("resume", begun, "--set", "seed=1")
    assert other.returncode == 2

    more = usd(begun) + 25 * USD_PER_SECOND
    again = tally("resume", begun, "--set", f"budget_usd={more:.6f}")
    assert again.returncode == 1
    assert usd(begun) < 1.02 * more
    found = events(tally_home, begun)
    assert only(found, "started", 3)["resumed_from_microseconds"]
    assert only(found, "stopped", 3)["remaining_examples"] < stopped["remaining_examples"]


@pytest.mark.timing
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_deadline_stops_a_run_in_time(tally_home: Path, begun: str) -> None:
    run = open_ledger().run(begun)
    assert run is not None
    elapsed = (clock.now_microseconds() - run.created_at_microseconds) / 1e6
    seconds = round(elapsed) + 25
    done = tally("resume", begun, "--set", f"deadline={seconds}s")
    assert done.returncode == 1
    found = events(tally_home, begun)
    until = run.created_at_microseconds + seconds * 1_000_000
    assert only(found, "stopped", 2)["reason"] == "deadline"
    assert found[-1]["step"] == "bill"
    saved = [e for e in found if e["event"] == "checkpoint"][-1]
    assert until - 5_000_000 < saved["at_microseconds"] <= until
    refused = tally("resume", begun)
    assert refused.returncode == 2
    assert "deadline: expected a moment that is to come" in refused.stderr
