"""A schedule ends when its runs have ended, and is renewed without a gap in what it is."""

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers.contract.recurring import NIGHTLY, Scheduling, nightly, scheduling

pytestmark = pytest.mark.slow


@pytest.fixture
def replay(monkeypatch: pytest.MonkeyPatch) -> Iterator[Scheduling]:
    with scheduling(monkeypatch) as server:
        yield server


@pytest.fixture
def made(run_tally, replay: Scheduling) -> dict[str, Any]:
    return nightly(run_tally, replay)


def test_delete_pauses_it_waits_for_its_runs_and_leaves_none_running_for_ever(
    run_tally, replay: Scheduling, made: dict[str, Any]
) -> None:
    run = replay.fire(["12-get-run-running"] * 4 + ["14-get-run-succeeded"])
    done = run_tally("schedule", "delete", "cnn")
    assert done.code == 0, done.err
    assert f"waits for the end of run {run['run_id']}" in done.out
    assert replay.changes()[1:] == ["POST recurringruns/*:disable", "DELETE recurringruns/*"]
    assert (replay.recurring, replay.orphans) == ({}, [])


def test_a_run_that_has_no_state_yet_is_waited_for_too(
    run_tally, replay: Scheduling, made: dict[str, Any]
) -> None:
    replay.fire(["13-get-run-state-missing"] * 4 + ["16-get-run-failed-step"])
    assert run_tally("schedule", "delete", "cnn").code == 0
    assert (replay.recurring, replay.orphans) == ({}, [])


def test_delete_with_cancel_ends_its_runs_and_no_others(
    run_tally, replay: Scheduling, made: dict[str, Any]
) -> None:
    run = replay.fire(["12-get-run-running"])
    other = replay.fire(["12-get-run-running"])
    other["recurring_run_id"] = str(uuid.uuid4())
    done = run_tally("schedule", "delete", "cnn", "--cancel")
    assert done.code == 0, done.err
    assert replay.seen["POST runs/*:terminate"] == 1
    assert other["run_id"] not in done.out and run["run_id"] in done.out
    assert (replay.recurring, replay.orphans) == ({}, [])


def test_a_run_that_does_not_end_in_time_keeps_the_schedule_paused(
    run_tally, replay: Scheduling, made: dict[str, Any]
) -> None:
    run = replay.fire(["12-get-run-running"])
    done = run_tally("schedule", "delete", "cnn", "--wait", "0.1")
    assert done.code == 1
    assert f"expected the end of run {run['run_id']} in time, got none" in done.err
    assert "until then it is paused, and not deleted" in done.err
    assert made["status"] == "DISABLED" and replay.seen["DELETE recurringruns/*"] == 0


def test_a_delete_whose_answer_was_lost_is_done(
    run_tally, replay: Scheduling, made: dict[str, Any]
) -> None:
    replay.faults["DELETE recurringruns/*"] = ["done then reset"]
    assert run_tally("schedule", "delete", "cnn").code == 0
    assert replay.recurring == {}


def test_update_takes_a_new_version_and_keeps_name_times_and_parameters(
    run_tally, replay: Scheduling, made: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = dict(made)
    monkeypatch.setenv("TALLY_IMAGE", "registry.example/tally@sha256:" + "a" * 64)
    done = run_tally("schedule", "update", "cnn", "--set", "seed=3")
    assert done.code == 0, done.err
    (after,) = replay.recurring.values()
    for name in ("display_name", "trigger", "experiment_id", "no_catchup", "status"):
        assert after[name] == before[name]
    assert after["max_concurrency"] == "1"
    old, new = (one["runtime_config"]["parameters"] for one in (before, after))
    assert new == {**old, "seed": 3} and new["epochs"] == 7
    assert len(replay.versions) == 2
    assert after["pipeline_version_reference"] != before["pipeline_version_reference"]
    assert replay.orphans == []


def test_an_update_that_changes_nothing_does_nothing(
    run_tally, replay: Scheduling, made: dict[str, Any]
) -> None:
    changes = replay.changes()
    done = run_tally("schedule", "update", "cnn")
    assert done.code == 0 and "already" in done.out
    assert replay.changes() == changes
    assert list(replay.recurring) == [made["recurring_run_id"]]


def test_a_paused_schedule_is_paused_after_its_update(
    run_tally, replay: Scheduling, made: dict[str, Any]
) -> None:
    assert run_tally("schedule", "pause", "cnn").code == 0
    assert run_tally("schedule", "update", "cnn", "--set", "seed=1").code == 0
    (after,) = replay.recurring.values()
    assert after["recurring_run_id"] != made["recurring_run_id"]
    assert after["mode"] == "DISABLE"


@pytest.mark.parametrize("fault", ["run goes on", "55-error-recurring-max-concurrency"])
def test_an_update_that_fails_leaves_the_schedule_firing_as_before(
    run_tally, replay: Scheduling, made: dict[str, Any], fault: str
) -> None:
    if fault == "run goes on":
        replay.fire(["12-get-run-running"])
    else:
        replay.faults["POST recurringruns"] = [fault]
    done = run_tally("schedule", "update", "cnn", "--set", "seed=1", "--wait", "0.1")
    assert done.code in (1, 2) and len(done.err.splitlines()) == 1
    assert list(replay.recurring) == [made["recurring_run_id"]]
    assert made["status"] == "ENABLED"


def test_a_file_of_ones_own_is_named_again_for_an_update(
    run_tally, replay: Scheduling, tmp_path: Path
) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "def model():\n    import keras\n    return keras.Sequential([keras.Input((64,)),"
        " keras.layers.Dense(10)])\n\n\ndef dataset():\n    raise NotImplementedError\n"
    )  # fmt: skip
    done = run_tally("schedule", str(file), "--cron", NIGHTLY, "--set", "epochs=2")
    assert done.code == 0, done.err
    refused = run_tally("schedule", "update", "mine")
    assert refused.code == 2 and "pass the file that it was made of: --pipeline" in refused.err
    file.write_text(file.read_text().replace("Dense(10)", "Dense(11)"))
    done = run_tally("schedule", "update", "mine", "--pipeline", str(file))
    assert done.code == 0, done.err
    (after,) = replay.recurring.values()
    assert after["runtime_config"]["parameters"]["epochs"] == 2
