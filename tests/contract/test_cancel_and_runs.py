"""`tally cancel` and `tally runs` on Kubeflow."""

import json

import pytest

from helpers.contract.recordings import UNSCHEDULABLE
from helpers.contract.replay import Replay, interrupt_at
from tally.runs.kubeflow import cancelling, watching

pytestmark = pytest.mark.slow


@pytest.fixture
def left(run_tally, replay: Replay) -> str:
    """The id of a run that is left running."""
    replay.story = UNSCHEDULABLE
    replay.looked = interrupt_at(2)
    assert run_tally("submit", "cnn").code == 0
    replay.looked = lambda server: None
    return str(replay.the_run()["run_id"])


def test_cancel_terminates_and_waits_for_the_end(run_tally, replay: Replay, left: str) -> None:
    done = run_tally("cancel", left[:8])
    assert (done.code, done.out) == (0, f"cancelled {left}\n")
    assert "run: is being cancelled" in done.err
    assert replay.seen["POST runs/*:terminate"] == 1


def test_what_has_ended_cannot_be_cancelled(run_tally, replay: Replay) -> None:
    assert run_tally("submit", "cnn").code == 0
    done = run_tally("cancel", replay.the_run()["run_id"])
    assert done.code == 2
    assert "expected one that is running, got succeeded" in done.err
    assert replay.seen["POST runs/*:terminate"] == 0


def test_a_run_that_ends_while_it_is_cancelled_is_said_as_it_ended(
    run_tally, replay: Replay, left: str
) -> None:
    # the server's answer to a run that has ended: 400 "Row not found"
    replay.faults["POST runs/*:terminate"] = ["58-error-terminate-finished-run"]
    replay._left[left] = ["17-get-run-running-unschedulable", "14-get-run-succeeded"]
    done = run_tally("cancel", left)
    assert (done.code, done.out) == (0, f"succeeded {left}\n"), done.err


def test_an_end_that_does_not_come_is_an_error_in_time(
    run_tally, replay: Replay, left: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cancelling, "CANCEL_SECONDS", 0.3)
    replay.cancelled = ["20-get-run-canceling"]
    done = run_tally("cancel", left)
    assert done.code == 1
    assert f"run {left}: expected its end, got nothing new for 0 s; look at it in" in done.err


def test_a_run_whose_workflow_is_gone_cannot_be_ended_and_says_why(
    run_tally, replay: Replay, left: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "TERMINATE_SECONDS", 0.3)
    replay.faults["POST runs/*:terminate"] = ["59-error-terminate-run-without-workflow"] * 20
    done = run_tally("cancel", left)
    assert done.code == 1
    assert f"expected to end run {left}, got 500" in done.err
    assert 'workflows.argoproj.io "five-fieldrx6gp-5-335967777" not found' in done.err
    assert len(done.err.splitlines()) == 1


@pytest.mark.parametrize("text", ["nothing", "11111111-1111-1111-1111-111111111111", "c"])
def test_a_run_that_is_not_there(run_tally, left: str, text: str) -> None:
    done = run_tally("cancel", text)
    assert done.code == 2
    assert len(done.err.splitlines()) == 1


def test_runs_are_listed_with_their_states(run_tally, replay: Replay, left: str) -> None:
    replay.runs[left]["state"] = "RUNNING"
    (row,) = json.loads(run_tally("runs", "--json").out)["runs"]
    assert row["id"] == left
    assert (row["pipeline"], row["state"], row["cost_usd"], row["metrics"]) == (
        "cnn", "running", None, {},
    )  # fmt: skip
    assert row["spec"]["dataset"] == "digits"
    done = run_tally("runs")
    assert left[:8] in done.out
    assert "2026-11-25 07:00" in done.out


def test_local_runs_stay_at_hand(run_tally, replay: Replay) -> None:
    done = run_tally("runs", "--engine", "local")
    assert (done.code, done.out) == (0, "no runs yet; try `make submit PIPELINE=cnn`\n")
    assert replay.at == []
