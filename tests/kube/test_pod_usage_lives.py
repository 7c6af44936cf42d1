"""Any pod's life, looked at at any moments by meters that come and go, is billed once and whole."""

import random
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers.kube.pod_lives import CREATED, NODE, SECOND, Life, lives
from tally.costing.merge import newness
from tally.costing.nodes import Node
from tally.costing.usage import Usage
from tally.kube.podusage import pod_usage
from tally.kube.sampling import Used

pytestmark = pytest.mark.exact

looks = st.lists(st.integers(0, 1200 * SECOND), max_size=8).map(sorted)
unhurried = settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])


class Kept(dict[str, Usage]):
    """What a ledger holds: of two writes of one interval the newer."""

    def write(self, rows: list[Usage]) -> None:
        for row in rows:
            old = self.get(row.usage_id)
            if old is None or newness(row) > newness(old):
                self[row.usage_id] = row

    def read(self, order: random.Random) -> list[Usage]:
        """All rows, and what is another's, in any order."""
        others = {"source": "conductor"}, {"pod_uid": "another", "start_microseconds": 0}
        rows = [*self.values()]
        rows += [replace(row, **other) for row in self.values() for other in others]
        order.shuffle(rows)
        return rows


def look(
    life: Life, moment: int, before: list[Usage], *, used: Used | None, node: Node | None = NODE
) -> list[Usage]:
    pod = life.seen(moment)
    assert pod is not None
    gone = moment >= life.removed
    return pod_usage(pod, node, now_microseconds=moment, used=used, gone=gone, before=before)


def check_whole(rows: list[Usage], life: Life) -> None:
    """No gap, no overlap, nothing below zero, from the creation on."""
    assert [row.phase for row in rows] == ["queue", "startup", "work"][: len(rows)]
    assert rows[0].start_microseconds == life.created // SECOND * SECOND
    for row, following in pairwise(rows):
        assert row.end_microseconds == following.start_microseconds
    for row in rows:
        assert row.end_microseconds is None or row.end_microseconds >= row.start_microseconds
        assert row.heartbeat_at_microseconds >= row.start_microseconds


@unhurried
@given(lives(), looks, st.randoms(use_true_random=False), st.booleans())
def test_looks_at_a_life_add_up_to_it(
    life: Life, looked: list[int], order: random.Random, sampled: bool
) -> None:
    kept, keys = Kept(), set[str]()
    moments = [CREATED + look for look in looked if CREATED + look >= life.created]
    last = max([life.removed, *moments])
    for moment in [*moments, last]:
        used = Used(order.uniform(0, 9), order.uniform(0, 9)) if sampled else None
        rows = look(life, moment, kept.read(order), used=used)
        check_whole(rows, life)
        assert keys <= {row.usage_id for row in rows}, "a start has moved"
        keys |= {row.usage_id for row in rows}
        if used is not None and len(rows) > 1:
            total = sum(row.cpu_used_core_seconds for row in rows)
            assert all(row.cpu_used_core_seconds >= 0 for row in rows)
            assert total == pytest.approx(used.cpu_core_seconds)
        kept.write(rows)
        assert set(kept.values()) == set(rows), "the ledger did not take a row for newer"
    assert all(row.end_microseconds is not None for row in rows)
    if life.tells_all:
        told = look(life, last, [], used=None)
        assert [bounds(row) for row in rows] == [bounds(row) for row in told]
        assert rows[-1].end_microseconds == (life.sidecar_end or 0) // SECOND * SECOND
    if life.scheduled is None:
        assert [row.phase for row in rows] == ["queue"]
    elif not life.runs:
        assert [row.phase for row in rows] == ["queue", "startup"]
    again = look(life, last + 60 * SECOND, kept.read(order), used=None)
    assert again == rows, "what is over changes no more"


@unhurried
@given(lives(), looks, st.integers(0, 600 * SECOND), st.randoms(use_true_random=False))
def test_a_node_that_vanishes_takes_its_pods_with_it(
    life: Life, looked: list[int], vanished: int, order: random.Random
) -> None:
    if life.scheduled is None:
        return
    kept, heard = Kept(), max(CREATED + vanished, life.scheduled)
    lost = replace(NODE, heartbeat_at_microseconds=heard, end_microseconds=heard)
    moments = [CREATED + look for look in looked if CREATED + look >= life.created]
    for moment in moments:
        there = replace(NODE, heartbeat_at_microseconds=moment)
        node = lost if moment > heard + 40 * SECOND else there
        kept.write(look(life, moment, kept.read(order), used=None, node=node))
    last = max([life.removed, heard + 41 * SECOND, *moments])
    rows = look(life, last, kept.read(order), used=None, node=lost)
    check_whole(rows, life)
    told = life.sidecar_end or 0
    latest_start = rows[-1].start_microseconds
    assert rows[-1].end_microseconds is not None
    assert rows[-1].end_microseconds <= max(heard, told, latest_start)


def bounds(row: Usage) -> tuple[str, int, int | None]:
    return row.phase, row.start_microseconds, row.end_microseconds
