"""/metrics of a busy cluster: 1,000 runs in the ledger, 20 of them live."""

import time
import uuid
from collections.abc import Iterator

import pytest

from helpers.metered_runs import HOUR, NOON, SECOND, life, node, run
from tally.costing.ledger import Ledger, open_ledger
from tally.costing.quotes import Quote
from tally.costing.usage import Usage
from tally.meter.exposition import Exposition, MeterState
from tally.meter.snapshot import take

RUNS, LIVE, NODES, PIPELINES, TEAMS = 1000, 20, 40, 30, 8
STEPS = ("prepare", "plan", "train", "evaluate", "bill")
TYPES = ("n2-standard-4", "g2-standard-4", "a2-highgpu-1g")
WORKERS = 8
WELL = MeterState(last_write_microseconds=NOON, ledger_errors=0)


def pods(number: int, run_id: str, start: int, lives: bool) -> list[Usage]:
    """Drivers, steps and a gang that has moved to another machine type: 18 pods."""
    rows = []
    whose = {
        "run_id": run_id,
        "pipeline": f"retrain-{number % PIPELINES}",
        "team": f"team-{number % TEAMS}",
        "namespace": f"team-{number % TEAMS}",
        "cpu_used_core_seconds": 123.456789,
        "memory_used_byte_seconds": 9.87654321e11,
    }
    for index, step in enumerate(STEPS):
        for kind in ("driver", step):
            place = {"node_uid": f"uid-node-{(number + index) % NODES}", "step": step}
            begin = start + index * 120 * SECOND
            rows += life(f"{run_id}-{step}-{kind}", begin, begin + 110 * SECOND, **whose, **place)
    for worker in range(WORKERS):
        place = {
            "node_uid": f"uid-node-{(number + worker) % NODES}",
            "machine_type": TYPES[worker % len(TYPES)],
            "accelerator_count": float(worker % len(TYPES) > 0),
            "wait_seconds": 3.0,
        }
        stop = None if lives else start + 900 * SECOND
        rows += life(f"{run_id}-{worker}", start + 240 * SECOND, stop, **whose, **place)
    return rows


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    path = tmp_path_factory.mktemp("ledger") / "ledger.db"
    with open_ledger(f"sqlite:///{path}") as opened:
        nodes = [node(f"node-{index}", NOON - 400 * HOUR) for index in range(NODES)]
        opened.write_nodes(nodes)
        rows: list[Usage] = []
        for number in range(RUNS):
            run_id = str(uuid.UUID(int=number + (7 << 124)))
            lives = number >= RUNS - LIVE
            start = NOON - HOUR if lives else NOON - 2 * HOUR - number * 20 * 60 * SECOND
            opened.put_run(run(run_id))
            opened.put_quote(
                Quote(
                    run_id=run_id,
                    namespace="team-a",
                    made_at_microseconds=start,
                    low_usd=1.0,
                    expected_usd=1.5,
                    high_usd=2.0,
                    budget_usd=3.0,
                )
            )
            rows += pods(number, run_id, start, lives)
        opened.write_usage(rows)
        yield opened


@pytest.mark.timing
def test_metrics_stay_small_and_fast(ledger: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    exposition = Exposition()
    began = time.perf_counter()
    snapshot = take(ledger, NOON)
    taken = time.perf_counter()
    take(ledger, NOON + 15 * SECOND, snapshot)
    again = time.perf_counter()
    exposition.show(snapshot)
    made = time.perf_counter()
    text = exposition.text(WELL)
    served = time.perf_counter()
    with capsys.disabled():
        print(
            f"\n/metrics: {len(text) / 1e3:.0f} kB; served in {(served - made) * 1e3:.1f} ms, made "
            f"in {(made - again) * 1e3:.0f} ms from a snapshot that took "
            f"{(taken - began) * 1e3:.0f} ms, {(again - taken) * 1e3:.0f} ms with known days"
        )
    assert len(snapshot.runs) == LIVE
    assert len(text) <= 500_000
    assert served - made <= 0.1
