"""`tally resize` on a training that runs."""

import signal
import subprocess
from pathlib import Path

import pytest

from helpers.command import QUICK, TALLY, Live, events, submit_json, tally

LONG = [
    "cnn", "--set", "augment=1", "--set", "epochs=10000", "--set", "workers=1",
    "--set", "max_workers=2",
]  # fmt: skip


def watching(run_id: str) -> subprocess.Popen[str]:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([*TALLY, "watch", run_id], text=True, **pipes)


def sizes(home: Path, run_id: str) -> list[int]:
    return [len(e["workers"]) for e in events(home, run_id) if e["event"] == "generation"]


@pytest.mark.slow
def test_a_running_training_grows_and_shrinks_by_command(tally_home: Path) -> None:
    with Live(tally_home, *LONG) as live:
        live.until("generation")
        live.until("progress")
        for count, size in enumerate((2, 1), 2):
            done = tally("resize", live.run_id, str(size))
            assert done.returncode == 0, done.stderr
            live.until("generation", count)
            assert sizes(tally_home, live.run_id)[-1] == size
        refused = tally("resize", live.run_id, "3")
        assert refused.returncode == 2
        assert "max_workers" in refused.stderr


@pytest.mark.slow
def test_a_run_here_is_watched_from_elsewhere_left_and_watched_to_its_end(
    tally_home: Path,
) -> None:
    with Live(tally_home, *LONG) as live:
        live.until("progress")
        left = watching(live.run_id)
        assert left.stdout and left.stdout.readline().startswith("prepare: started, cost so far")
        left.send_signal(signal.SIGINT)
        _, why = left.communicate(timeout=20)
        assert left.returncode == 130 and "left running" in why
        assert live.process.poll() is None
        watched = watching(live.run_id)
        assert watched.stdout and watched.stdout.readline()
        assert tally("cancel", live.run_id).returncode == 0
        said, why = watched.communicate(timeout=30)
        assert watched.returncode == 130
        assert "total" in said and "cancelled by `tally cancel`" in why


@pytest.mark.slow
def test_a_run_that_has_ended_is_watched_at_once(tally_home: Path) -> None:
    run_id = submit_json("cnn", *QUICK)["id"]
    done = tally("watch", run_id)
    assert done.returncode == 0 and "test accuracy" in done.stdout
