"""Runs that only a meter has seen, on a real ledger."""

from collections.abc import Iterator

import pytest
from histories import SECOND, record, row

from tally.costing.ledger import Ledger, open_ledger
from tally.costing.metered_runs import begin_runs, end_quiet_runs


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    with open_ledger() as opened:
        yield opened


def pod(start: int, stop: int | None, **fields: object) -> object:
    usual = {"source": "pod", "run_id": "run-1", "team": "team-a", "pod_uid": f"pod-{start}"}
    return row(start * SECOND, None if stop is None else stop * SECOND, **(usual | fields))


def test_a_run_begins_with_its_first_pod_and_is_kept_once(ledger: Ledger) -> None:
    rows = [pod(20, 30), pod(10, 15), pod(5, 9, run_id="")]
    ledger.write_usage(rows)
    begin_runs(ledger, rows, 1.0)
    begin_runs(ledger, [pod(20, 30)], 2.0)
    (kept,) = ledger.runs()
    assert (kept.id, kept.team, kept.engine, kept.state) == (
        "run-1",
        "team-a",
        "cluster",
        "running",
    )
    assert (kept.created_at_microseconds, kept.value_of_hour_usd) == (10 * SECOND, 1.0)


def test_a_run_without_pods_has_ended_and_goes_on_with_a_new_one(ledger: Ledger) -> None:
    rows = [pod(10, 15), pod(20, 30)]
    ledger.write_usage(rows)
    begin_runs(ledger, rows, 1.0)
    end_quiet_runs(ledger, 29 * SECOND)
    assert ledger.run("run-1").state == "running"
    end_quiet_runs(ledger, 31 * SECOND)
    ended = ledger.run("run-1")
    assert (ended.state, ended.ended_at_microseconds) == ("ended", 30 * SECOND)
    ledger.write_usage([pod(200, None)])
    end_quiet_runs(ledger, 190 * SECOND)
    again = ledger.run("run-1")
    assert (again.state, again.ended_at_microseconds) == ("running", None)


def test_what_somebody_said_of_a_runs_end_stays(ledger: Ledger) -> None:
    ledger.put_run(record("run-1", state="failed", engine="cluster"))
    ledger.put_run(record("run-2", state="running", engine="local"))
    ledger.write_usage([pod(10, None)])
    end_quiet_runs(ledger, 9 * SECOND)
    end_quiet_runs(ledger, 99 * SECOND)
    assert {run.id: run.state for run in ledger.runs()} == {"run-1": "failed", "run-2": "running"}
