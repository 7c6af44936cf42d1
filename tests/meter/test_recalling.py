"""A meter that begins takes up what the ledger has, and ends what has vanished."""

from helpers.meter.told import PRICED, node
from tally.costing.ledger import open_ledger
from tally.costing.usage import Usage
from tally.kube.nodelife import node_life
from tally.machines.shares import price_shares
from tally.meter.recalling import recall


def row(pod: str, phase: str, start: int, heard: int, end: int | None = None) -> Usage:
    return Usage(
        run_id="r", pipeline="p", step="s", pod_uid=pod, node_uid="there", container="pod",
        start_microseconds=start, end_microseconds=end, heartbeat_at_microseconds=heard,
        phase=phase, source="pod", price_usd_per_hour=1.0, catalogue_version="1",
    )  # fmt: skip


def life(uid: str, *, priced: bool = True) -> list:
    return node_life(
        node(uid=uid), PRICED if priced else None, price_shares(4, 1 << 30, 0),
        now_microseconds=1_900_000_000_000_000, gone=False, last_heard_microseconds=None,
        before=None,
    )  # fmt: skip


def test_what_vanished_ends_when_it_was_last_known_and_the_rest_goes_on() -> None:
    with open_ledger() as ledger:
        ledger.write_usage(
            [
                row("there", "queue", 1, 1, 1), row("there", "startup", 1, 5),
                row("lost", "work", 2, 7), row("ended", "work", 2, 4, 4),
            ]
        )  # fmt: skip
        ledger.write_nodes([*life("there"), *life("lost", priced=False)])
        recalled = recall(ledger, {"there"}, {"there"})
        rows = {(r.pod_uid, r.phase): r.end_microseconds for r in ledger.usage()}
        nodes = {n.node_uid: n.end_microseconds for n in ledger.nodes()}
    assert rows == {
        ("there", "queue"): 1, ("there", "startup"): None, ("lost", "work"): 7,
        ("ended", "work"): 4,
    }  # fmt: skip
    assert nodes == {"there": None, "lost": 1_900_000_000_000_000}
    assert [r.phase for r in recalled.rows["there"]] == ["queue", "startup"]
    assert recalled.rows.keys() == recalled.lives.keys() == {"there"}
    assert recalled.unpriced == {("m", False)}
