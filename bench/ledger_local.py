"""How long the ledger takes to write and to bill many runs of one machine.

A quarter of the runs is beside another, one in twenty was killed and resumed.
"""

import random
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

from tally.costing.bill import Bill
from tally.costing.database import writing
from tally.costing.ledger import Ledger, open_ledger
from tally.costing.merge import split_lost
from tally.costing.runs import RunRecord
from tally.costing.tables import run_values, upsert_run
from tally.costing.usage import Phase, Usage

TARGET_SECONDS = 2.0
RUNS = 10_000
GOES = 3
SECOND = 1_000_000
BEGIN = 1_790_000_000 * SECOND


def measure(folder: Path, count: int) -> dict[str, float | int]:
    """Seconds to write `count` runs, to bill all of them, and to bill the newest alone."""
    with open_ledger(f"sqlite:///{folder / 'ledger.db'}") as ledger:
        runs, rows = history(count, random.Random(0))
        began = time.perf_counter()
        ledger.write_usage(rows)
        write = time.perf_counter() - began
        with writing(ledger.engine) as connection:
            connection.execute(upsert_run("sqlite"), [run_values(record) for record in runs])
        cpu = time.process_time()
        bills, all_of_them = median(ledger, None)
        cpu = (time.process_time() - cpu) / GOES
        newest, _ = median(ledger, [runs[-1].id])
        middle, one = median(ledger, [runs[len(runs) // 2].id])
        total = sum(bill.total_usd for bill in all_of_them)
        same = next(bill for bill in all_of_them if bill.run_id == one[0].run_id)
    assert same == one[0], "a bill differs with the company it is made in"
    lines = sum(line.usd for bill in all_of_them for line in bill.lines)
    assert lines + sum(bill.time_usd for bill in all_of_them) == total
    return {
        "runs": len(all_of_them),
        "intervals": len(rows),
        "write_seconds": write,
        "bill_seconds": bills,
        "bill_cpu_seconds": cpu,
        "bill_newest_seconds": newest,
        "bill_middle_seconds": middle,
        "total_usd": float(total),
    }


def median(
    ledger: Ledger, run_ids: list[str] | None, times: int = GOES
) -> tuple[float, list[Bill]]:
    """The median of several goes, in seconds, and what came out."""
    seconds = []
    for _ in range(times):
        began = time.perf_counter()
        bills = ledger.bills(run_ids)
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds), bills


def history(count: int, chance: random.Random) -> tuple[list[RunRecord], list[Usage]]:
    """Runs one after another on one machine, some beside each other, ten intervals a run."""
    runs, rows = [], []
    now = BEGIN
    for number in range(count):
        run_id = f"{now // 1000:012x}-{number:08x}"
        own = list(life(run_id, now, chance, attempt=1))
        end = max(row.stop_microseconds for row in own)
        if number % 20 == 0:
            own += split_lost(own, run_id, "train", end - 20 * SECOND, attempt_before=2)
        rows += own[:10]
        runs.append(
            RunRecord(
                id=run_id,
                pipeline="cnn",
                state="succeeded",
                created_at_microseconds=now,
                ended_at_microseconds=end,
                value_of_hour_usd=1.0,
                spec={"model": "cnn", "epochs": 5},
                metrics={"test_accuracy": 0.98},
                examples_trained=143_700,
            )
        )
        now = end - chance.randrange(30) * SECOND if number % 4 == 0 else end + SECOND
    return runs, rows


def life(run_id: str, start: int, chance: random.Random, attempt: int) -> Iterator[Usage]:
    """One attempt: submit all along, four steps, train with two workers and their start-up."""
    at = start
    whole = []
    for step, seconds in (("prepare", 2), ("train", 60), ("evaluate", 4), ("bill", 1)):
        at += chance.randrange(SECOND)
        until = at + seconds * SECOND + chance.randrange(SECOND)
        whole.append(interval(run_id, step, "", at, until, "work", 0 if step == "train" else 2))
        if step == "train":
            for worker in ("0", "1"):
                ready = at + 5 * SECOND + chance.randrange(SECOND)
                whole.append(interval(run_id, step, worker, at, ready, "startup", 1))
                whole.append(interval(run_id, step, worker, ready, until - 1, "work", 1))
        at = until
    yield interval(run_id, "submit", "", start, at, "startup", 0)
    yield from whole
    yield interval(run_id, "train", "2", start + SECOND, start + 2 * SECOND, "queue", 1)


def interval(
    run_id: str, step: str, worker: str, start: int, stop: int, phase: Phase, cores: float
) -> Usage:
    return Usage(
        run_id=run_id,
        pipeline="cnn",
        step=step,
        worker=worker,
        pod_uid=f"{run_id}:{step}:{worker}",
        node_uid="machine",
        container="worker" if worker else "step",
        start_microseconds=start,
        end_microseconds=stop,
        heartbeat_at_microseconds=stop,
        cpu_request_cores=cores,
        phase=phase,
        price_usd_per_hour=0.1,
        catalogue_version="2026-11",
    )
