"""However a run is ended: no process lives on, the ledger is closed, and resume goes on with it."""

import hashlib
import itertools
import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from helpers.command import Live, events, interrupt_group, submit_json, tally, wait_until
from tally.costing.ledger import open_ledger
from tally.costing.merge import merge

LONG = ["cnn", "--set", "epochs=200", "--set", "augment=4", "--set", "checkpoint_seconds=0.5"]
SHORT = ["cnn", "--set", "epochs=6", "--set", "augment=4", "--set", "checkpoint_seconds=0.3"]


def weights(home: Path, run_id: str) -> str:
    """A digest of all bits of a run's weights."""
    tensors = load_file(home / "runs" / run_id / "model" / "weights.safetensors")
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(tensors[name].tobytes())
    return digest.hexdigest()


def assert_closed(run_id: str, state: str) -> None:
    ledger = open_ledger()
    run = ledger.run(run_id)
    assert run is not None and run.state == state
    rows = ledger.usage([run_id])
    assert rows and all(row.end_microseconds is not None for row in rows)


ENDINGS: dict[str, tuple[Callable[[Live], None], int]] = {
    "SIGINT to the group": (interrupt_group, 130),
    "SIGINT to submit": (lambda live: live.process.send_signal(signal.SIGINT), 130),
    "SIGTERM to submit": (lambda live: live.process.send_signal(signal.SIGTERM), 130),
    "SIGKILL to submit": (lambda live: live.process.kill(), -signal.SIGKILL),
}


@pytest.mark.parametrize(
    "name",
    [
        "SIGINT to the group",
        pytest.param("SIGINT to submit", marks=pytest.mark.slow),
        pytest.param("SIGTERM to submit", marks=pytest.mark.slow),
        pytest.param("SIGKILL to submit", marks=pytest.mark.slow),
    ],
)
def test_ending_in_training(name: str, tally_home: Path) -> None:
    how, code = ENDINGS[name]
    with Live(tally_home, *LONG) as live:
        live.until("checkpoint")
        assert live.end(how) < 25
        assert live.process.returncode == code
        assert_closed(live.run_id, "interrupted")


@pytest.mark.parametrize(
    "name", ["SIGTERM to submit", pytest.param("SIGKILL to submit", marks=pytest.mark.slow)]
)
def test_ending_before_training(name: str, tally_home: Path) -> None:
    how, _ = ENDINGS[name]
    with Live(tally_home, *LONG) as live:
        live.until("step_started", step="prepare")
        assert live.end(how) < 25
        assert_closed(live.run_id, "interrupted")


@pytest.mark.slow
def test_killing_submit_and_engine_leaves_nothing(tally_home: Path) -> None:
    def kill_both(live: Live) -> None:
        for process in live.processes():
            if process.pid == live.process.pid or "tally.runs.engine" in process.cmdline():
                process.kill()

    with Live(tally_home, *LONG) as live:
        live.until("started")
        assert live.end(kill_both) < 25
        listed = json.loads(tally("runs", "--json").stdout)["runs"]  # the next reader closes it
        assert [run["state"] for run in listed] == ["interrupted"]
        assert_closed(live.run_id, "interrupted")


@pytest.mark.slow
def test_cancel_ends_the_run_and_says_so(tally_home: Path) -> None:
    with Live(tally_home, *LONG) as live:
        live.until("started")
        again = tally("resume", live.run_id)
        assert again.returncode == 2 and "not running" in again.stderr
        assert live.end(lambda _: tally("cancel", live.run_id)) < 40
        assert_closed(live.run_id, "cancelled")
        assert tally("cancel", live.run_id).returncode == 2


def train_step_killed(live: Live) -> None:
    """The conductor dies; its worker, alone, saves and ends, and the run fails."""
    live.conductor().kill()


@pytest.mark.slow
def test_a_killed_conductor_resumes_to_bitwise_the_same_weights(tally_home: Path) -> None:
    undisturbed = submit_json(*SHORT)
    with Live(tally_home, *SHORT) as live:
        live.until("checkpoint", 2)
        train_step_killed(live)
        output, _ = live.process.communicate(timeout=120)
        assert live.process.returncode == 1
        assert "make resume" in output and "cost so far" in output
        done = tally("resume", live.run_id, "--json")
        assert done.returncode == 0, done.stderr
        resumed = json.loads(done.stdout)
    assert resumed["attempt"] == 2
    assert weights(tally_home, live.run_id) == weights(tally_home, undisturbed["id"])
    assert resumed["metrics"] == undisturbed["metrics"]

    started = [e for e in events(tally_home, live.run_id) if e["event"] == "started"]
    assert started[1]["epoch"] * 10**9 + started[1]["offset"] > 0
    rows = open_ledger().usage([live.run_id])
    lives = {(row.attempt, row.phase) for row in rows if row.worker == "0"}
    assert {(1, "work"), (2, "restart"), (2, "work")} <= lives
    assert_accounted(live.run_id)


@pytest.mark.slow
def test_a_killed_worker_is_replaced_and_nothing_is_lost(tally_home: Path) -> None:
    undisturbed = submit_json(*SHORT)
    with Live(tally_home, *SHORT) as live:
        live.until("checkpoint", 2)
        live.worker().kill()
        output, _ = live.process.communicate(timeout=120)
        assert live.process.returncode == 0, output
        assert "SIGKILL" in output and "replaced" in output
    assert weights(tally_home, live.run_id) == weights(tally_home, undisturbed["id"])
    rows = open_ledger().usage([live.run_id])
    assert {row.attempt for row in rows} == {1}
    phases = {row.phase for row in rows if row.worker == "0"}
    assert phases == {"startup", "work", "restart"}, "what is done again, and the second start"
    assert_accounted(live.run_id)


def assert_accounted(run_id: str) -> None:
    """No moment of a worker is billed twice, and the bill is the wall clock."""
    rows = merge(open_ledger().usage([run_id]))
    worker = sorted((r for r in rows if r.worker == "0"), key=lambda r: r.start_microseconds)
    for one, following in itertools.pairwise(worker):
        assert one.stop_microseconds <= following.start_microseconds
    bill = open_ledger().bill(run_id)
    assert bill.billed_seconds == pytest.approx(bill.wall_seconds, rel=1e-3)


@pytest.mark.slow
def test_a_run_that_is_ending_alone_is_not_resumed_meanwhile(tally_home: Path) -> None:
    with Live(tally_home, *LONG) as live:
        live.until("started")
        worker = live.worker()
        worker.suspend()  # so that the engine needs its two seconds to end it
        live.process.kill()
        live.process.wait()
        again = tally("resume", live.run_id)
        assert again.returncode == 2 and "not running" in again.stderr
        wait_until(live.gone, 50)
        assert_closed(live.run_id, "interrupted")
