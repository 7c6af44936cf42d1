"""`tally resize` on a training that runs."""

from pathlib import Path

import pytest

from helpers.command import Live, events, tally

LONG = [
    "cnn", "--set", "augment=1", "--set", "epochs=10000", "--set", "workers=1",
    "--set", "max_workers=2",
]  # fmt: skip


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
