"""Usage to test with: rows by hand, and strategies that make whole histories."""

from dataclasses import replace
from itertools import pairwise

from hypothesis import strategies as st

from tally.costing.runs import RunRecord
from tally.costing.usage import PHASES, Usage

SECOND = 1_000_000
HOUR = 3600 * SECOND


def row(start: int, stop: int | None, **fields: object) -> Usage:
    """An interval of run "run", step "train", worker "0" on one machine at 0.10 USD an hour."""
    usual = {
        "run_id": "run",
        "pipeline": "cnn",
        "step": "train",
        "worker": "0",
        "pod_uid": "host:1:boot",
        "node_uid": "machine",
        "container": "worker",
        "start_microseconds": start,
        "end_microseconds": stop,
        "heartbeat_at_microseconds": start if stop is None else stop,
        "cpu_request_cores": 1.0,
        "phase": "work",
        "price_usd_per_hour": 0.1,
    }
    return Usage(**(usual | fields))


def record(run_id: str = "run", **fields: object) -> RunRecord:
    usual = {
        "id": run_id,
        "pipeline": "cnn",
        "state": "succeeded",
        "created_at_microseconds": 0,
        "value_of_hour_usd": 1.0,
    }
    return RunRecord(**(usual | fields))


def spans(rows: list[Usage]) -> list[tuple[int, int]]:
    return [(one.start_microseconds, one.stop_microseconds) for one in rows]


def union(pairs: list[tuple[int, int]]) -> int:
    """Length of a union of intervals, the slow and obvious way: between neighbouring bounds."""
    bounds = sorted({bound for pair in pairs for bound in pair})
    return sum(
        b - a for a, b in pairwise(bounds) if any(start <= a and b <= stop for start, stop in pairs)
    )


@st.composite
def any_rows(draw: st.DrawFn, sources: tuple[str, ...] = ("local", "pod", "conductor")) -> Usage:
    """Any row at all: ends before starts (a stepped clock), open, written more than once."""
    start = draw(st.integers(0, 60))
    end = draw(st.none() | st.integers(-5, 80))
    worker = draw(st.sampled_from(["", "0", "1"]))
    attempt = draw(st.integers(1, 3))
    run = draw(st.sampled_from(["a", "b", "c"]))
    step = draw(st.sampled_from(["submit", "train"]))
    return row(
        start * draw(st.sampled_from([1, 7])),
        end,
        run_id=run,
        step=step,
        worker=worker,
        attempt=attempt,
        generation=draw(st.integers(0, 1)),
        pod_uid=f"{run}:{step}:{worker}:{attempt}:{draw(st.integers(0, 1))}",
        node_uid=draw(st.sampled_from(["m", "n"])),
        heartbeat_at_microseconds=draw(st.integers(0, 90)),
        cpu_request_cores=draw(st.sampled_from([0.0, 0.0, 0.5, 1.0, 2.0, 3.3])),
        cpu_used_core_seconds=float(draw(st.integers(0, 5))),
        phase=draw(st.sampled_from(PHASES)),
        source=draw(st.sampled_from(sources)),
        price_usd_per_hour=draw(st.sampled_from([0.1, 0.37, 12.0])),
        software_usd_per_hour=draw(st.sampled_from([0.0, 0.013])),
    )


@st.composite
def lives(draw: st.DrawFn, run_id: str = "run", begin: int = 1000, attempt: int = 1) -> list[Usage]:
    """One attempt as submit, its steps and their workers write it, all closed."""
    moment = st.integers(1, 40 * SECOND)
    at, rows = begin, []
    pid = f"{run_id}:{attempt}"
    for step in ("prepare", "train", "evaluate"):
        at += draw(moment)
        until = at + draw(moment)
        cores = 0.0 if step == "train" else 2.0
        usual = {"run_id": run_id, "step": step, "attempt": attempt}
        one = {"worker": "", "pod_uid": f"{pid}:{step}", "cpu_request_cores": cores}
        rows.append(row(at, until, **usual, **one))
        for worker in range(draw(st.integers(1, 3)) if step == "train" else 0):
            bounds = sorted(draw(st.tuples(*[st.integers(at, until)] * 3)))
            two = {"worker": str(worker), "pod_uid": f"{pid}:{worker}"}
            rows.append(row(bounds[0], bounds[1], **usual, **two, phase="startup"))
            rows.append(row(bounds[1], bounds[2], **usual, **two))
        at = until
    submit = row(begin, at + draw(moment), run_id=run_id, step="submit", attempt=attempt)
    alone = {"worker": "", "pod_uid": pid, "phase": "startup", "cpu_request_cores": 0.0}
    return [replace(submit, **alone), *rows]


def killed(rows: list[Usage], at: int, late: int) -> list[Usage]:
    """What a ledger holds of these rows after everything died at `at`: open rows heard of up to
    `late` microseconds before, and none that began later."""
    left = []
    for one in rows:
        if one.start_microseconds < at:
            if one.stop_microseconds > at:
                heard = max(one.start_microseconds, at - late)
                one = replace(one, end_microseconds=None, heartbeat_at_microseconds=heard)
            left.append(one)
    return left
