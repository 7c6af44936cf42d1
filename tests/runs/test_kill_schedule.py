"""A seeded schedule of kills, of any process of the run at any time, until the run has ended.

However often and wherever it dies: the same weights bit for bit, no interval of a worker twice,
nothing billed that no process lived through. A failure names its seed.
"""

import contextlib
import itertools
import json
import random
import time
from pathlib import Path

import psutil
import pytest
from test_ending import weights

from helpers.command import Live, submit_json, tally, wait_until
from tally.costing.ledger import open_ledger
from tally.costing.merge import merge

SPEC = ["cnn", "--set", "epochs=4", "--set", "augment=6", "--set", "checkpoint_seconds=0.4"]
KILLS = 4


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    home = tmp_path_factory.mktemp("undisturbed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TALLY_HOME", str(home))
        return home, submit_json(*SPEC)["id"]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_kills_at_random(seed: int, undisturbed: tuple[Path, str], tally_home: Path) -> None:
    kills_at_random(seed, undisturbed, tally_home)


@pytest.mark.faults
def test_kills_at_random_moments_drawn_anew(
    fresh_seed: int, undisturbed: tuple[Path, str], tally_home: Path
) -> None:
    kills_at_random(fresh_seed, undisturbed, tally_home)


def kills_at_random(seed: int, undisturbed: tuple[Path, str], tally_home: Path) -> None:
    """At moments of this seed."""
    chance = random.Random(seed)
    live = Live(tally_home, *SPEC)
    run_id = live.run_id
    for _ in range(KILLS):
        with live:
            time.sleep(chance.uniform(0.5, 7.0))  # the moment of death is the point here
            alive = sorted(live.processes(), key=lambda process: process.pid)
            for process in chance.sample(alive, chance.randint(1, len(alive))) if alive else []:
                with contextlib.suppress(psutil.NoSuchProcess):  # it followed the one before
                    process.kill()
            wait_until(live.gone, 120)  # left alone, what survives ends by itself
        live = Live.resuming(tally_home, run_id)
    with live:
        output, _ = live.process.communicate(timeout=120)
        ended = json.loads(tally("runs", "--json").stdout)["runs"][0]
        assert ended["state"] == "succeeded", f"seed {seed}: {output}"
    assert weights(tally_home, run_id) == weights(*undisturbed), f"seed {seed}"
    rows = merge(open_ledger().usage([run_id]))
    workers = sorted((r for r in rows if r.worker), key=lambda r: r.start_microseconds)
    for one, following in itertools.pairwise(workers):
        assert one.stop_microseconds <= following.start_microseconds, f"seed {seed}"
    bill = open_ledger().bill(run_id)
    assert bill.billed_seconds == pytest.approx(bill.wall_seconds, rel=1e-3), f"seed {seed}"
