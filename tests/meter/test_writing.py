"""What the ledger refuses waits for it, the newest of each row, and is written when it can be."""

from tally.costing.ledger import open_ledger
from tally.costing.usage import Usage
from tally.errors import RunError
from tally.meter.health import Health
from tally.meter.writing import Unwritten, write

FULL = RunError("ledger.db: expected room to write, got 'database or disk is full'; free space")


def row(pod: str, heard_microseconds: int, end_microseconds: int | None = None) -> Usage:
    return Usage(
        run_id="r", pipeline="p", step="s", pod_uid=pod, node_uid="n", container="pod",
        start_microseconds=1_000_000, end_microseconds=end_microseconds,
        heartbeat_at_microseconds=heard_microseconds, phase="work", source="pod",
        price_usd_per_hour=1.0,
    )  # fmt: skip


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_refused_batch_waits_behind_what_is_newer_and_is_written_once_there_is_room() -> None:
    clock, health = Clock(), Health()
    unwritten = Unwritten(health, clock)
    unwritten.add([row("a", 2_000_000), row("b", 2_000_000)])
    batch = unwritten.take()
    unwritten.add([row("a", 5_000_000, 5_000_000)])
    unwritten.refused(batch, FULL)
    assert health.problems() == [f"ledger: {FULL} (2 rows wait for it)"]
    assert unwritten.errors == 1
    assert not unwritten.take()  # not at once again
    clock.now = 1.0
    with open_ledger() as ledger:
        batch = unwritten.take()
        write(ledger, batch)
        unwritten.kept(7_000_000)
        found = {r.pod_uid: r.end_microseconds for r in ledger.usage()}
    assert found == {"a": 5_000_000, "b": None}
    assert (len(unwritten), unwritten.last_write_microseconds) == (0, 7_000_000)
    assert health.problems() == []


def test_while_it_is_refused_it_is_tried_less_and_less_often_and_grows_by_new_rows_only() -> None:
    clock = Clock()
    unwritten = Unwritten(Health(), clock)
    tries = []
    for second in range(200):
        clock.now = float(second)
        unwritten.add([row("a", second * 1_000_000)])
        if batch := unwritten.take():
            tries.append(second)
            unwritten.refused(batch, FULL)
        assert len(unwritten) == 1
    assert tries == [0, 1, 3, 7, 15, 31, 61, 91, 121, 151, 181]
