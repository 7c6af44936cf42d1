"""How long a run's user waited, and which part of that was Kubeflow's own."""

from dataclasses import replace
from typing import Any

import pytest

from helpers.metered_runs import pod, run
from tally.costing.allocation import charge
from tally.costing.bill import make_bill
from tally.costing.runs import RunRecord
from tally.costing.usage import Usage
from tally.costing.wall import BETWEEN_LIVES_MICROSECONDS, Wall, wall

pytestmark = pytest.mark.exact

SECOND = 10**6
T0 = 1_796_000_000 * SECOND


def at(start: float, stop: float, worker: str = "17", **fields: Any) -> Usage:
    """A pod's work, seconds after the run's creation."""
    given = {"worker": worker, "step": "train", **fields}
    name = f"{worker}-{start}"
    return pod(name, "work", T0 + round(start * SECOND), T0 + round(stop * SECOND), **given)


def record(ended: float | None = None, **fields: Any) -> RunRecord:
    end = None if ended is None else T0 + round(ended * SECOND)
    return run(created_at_microseconds=T0, ended_at_microseconds=end, **fields)


def seconds(found: Wall) -> tuple[float, float]:
    return found.microseconds / SECOND, found.platform_microseconds / SECOND


# as Kubeflow 2.17 takes its time: a driver, a tick of 10 s, the step, a tick, the next driver
STEPS = [
    at(3, 6, "driver-1"), at(13, 40, "2"), at(52, 55, "driver-3"), at(63, 90, "4"),
]  # fmt: skip


def test_a_run_on_a_cluster_lasts_from_its_creation_to_its_end() -> None:
    assert seconds(wall(record(ended=102), STEPS)) == (102, 102 - 27 - 27)


def test_while_it_goes_on_it_has_lasted_to_its_last_sign() -> None:
    assert seconds(wall(record(), STEPS)) == (90, 90 - 54)


def test_pods_side_by_side_count_once_and_workers_are_no_drivers() -> None:
    both = [*STEPS, at(30, 60, "0", step="train"), at(41, 50, "1")]
    assert seconds(wall(record(ended=102), both)) == (102, 102 - (90 - 13) + (63 - 60))


def test_a_gap_between_two_lives_is_nobodys_time_and_one_within_a_life_is() -> None:
    hour = 3600
    again = [replace(row, start_microseconds=row.start_microseconds + hour * SECOND,
                     end_microseconds=(row.end_microseconds or 0) + hour * SECOND)
             for row in STEPS]  # fmt: skip
    found = wall(record(ended=hour + 95, attempt=2), [*STEPS, *again])
    assert seconds(found) == (90 + 87 + 5, 90 + 87 + 5 - 4 * 27)
    slow = at(90 + BETWEEN_LIVES_MICROSECONDS / SECOND, 300)
    assert wall(record(attempt=2), [*STEPS, slow]).microseconds == 300 * SECOND
    # nobody began it again: the user waited all the time
    assert wall(record(), [*STEPS, at(3600, 3700)]).microseconds == 3700 * SECOND


def test_a_run_without_a_pod_has_no_time() -> None:
    assert wall(record(ended=10), []) == Wall(0, 0)


def test_on_this_machine_it_lasts_while_anything_of_it_is_there() -> None:
    local = record(ended=500, engine="local")
    assert seconds(wall(local, STEPS)) == (3 + 27 + 3 + 27, 0)


def test_the_bill_has_both() -> None:
    charges = list(charge(STEPS))
    bill = make_bill(record(ended=102), charges, 36.0)
    assert (bill.wall_seconds, bill.platform_seconds) == (102, 48)
    assert float(bill.time_usd) == pytest.approx(102 * 0.01)
    assert bill.as_json()["platform_seconds"] == 48
