"""A run whose size is Tally's to choose changes it while it trains, and says why."""

from pathlib import Path
from typing import Any

import pytest

from helpers.command import Live, events, tally, wait_until
from tally.costing.ledger import open_ledger


def of(found: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [event for event in found if event["event"] == kind]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_gang_that_one_worker_would_outrun_shrinks_and_the_report_names_the_reason(
    tally_home: Path,
) -> None:
    """Two workers share two cores, and steps of 32 small pictures are not worth the messages.

    The plan knows that and begins with one; somebody asks for two, and Tally goes back.
    """
    asked = ("workers=1..2", "epochs=35")
    with Live(tally_home, "cnn", *(part for one in asked for part in ("--set", one))) as live:
        live.until("progress")
        done = tally("resize", live.run_id, "2")
        assert done.returncode == 0, done.stderr

        def shrunk() -> bool:
            found = of(events(tally_home, live.run_id), "generation")
            return [len(event["workers"]) for event in found] == [1, 2, 1]

        wait_until(shrunk, 120)
        live.until("progress")
        assert live.process.wait(timeout=400) == 0
        shown = live.process.stdout.read()
    assert "train: size 2 → 1 workers: 2 × local → 1 × local" in shown
    found = events(tally_home, live.run_id)
    (change,) = (e for e in of(found, "decision") if e["before"] != e["after"])
    assert (change["before"]["workers"], change["after"]["workers"]) == (2, 1)
    assert change["predicted_saving_usd"] > 0
    (outcome,) = of(found, "decision_outcome")
    assert outcome["saving_usd"] > 0
    kept = [event.kind for event in open_ledger().events(live.run_id)]
    assert "decision_outcome" in kept
    assert tally("report", live.run_id).returncode == 0
    page = (tally_home / "runs" / live.run_id / "report.html").read_text()
    assert "2 × local → 1 × local" in page
    run = open_ledger().run(live.run_id)
    assert run is not None
    assert run.examples_trained == 35 * 28_740
