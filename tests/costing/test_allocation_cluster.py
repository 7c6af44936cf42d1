"""Nodes shared by pods: the price goes out whole, to whoever held what; idle is what is left."""

import itertools
import random
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.costing.clusters import (
    GIB,
    SECOND,
    a_node,
    a_pod,
    any_clusters,
    any_cuts,
    any_nodes,
    slowly,
)
from tally.costing.allocation import Charge
from tally.costing.node_shares import Shared, share_nodes
from tally.costing.nodes import Node
from tally.costing.usage import Usage

pytestmark = pytest.mark.exact

Cluster = tuple[list[Node], list[Usage]]
HOUR = 3600 * SECOND


def by_pod(charges: Iterable[Charge]) -> dict[str, int]:
    """Billed microseconds."""
    sums: dict[str, int] = defaultdict(int)
    for one in charges:
        sums[one.usage.pod_uid] += one.billed_microseconds
    return dict(sums)


def totals(shared: Shared) -> list[tuple[int, int, int, int]]:
    return [
        (
            one.life_microseconds,
            one.workload_microseconds,
            one.overhead_microseconds,
            one.idle_microseconds,
        )
        for one in shared.accounts
    ]


def nearly(found: int, exact: Fraction, life: int) -> bool:
    """Within a millionth of the node's life, and what whole microseconds round away."""
    return abs(found - exact) <= life * Fraction(1, 10**6) + 3


@given(any_clusters())
def test_workload_idle_and_overhead_are_the_node_and_none_is_negative(cluster: Cluster) -> None:
    nodes, rows = cluster
    shared = share_nodes(rows, nodes)
    assert [one.node for one in shared.accounts] == nodes
    for life, *parts in totals(shared):
        assert sum(parts) == life
        assert min(parts) >= 0
    assert all(one.billed_microseconds >= 0 for one in shared.charges)
    assert [one.usage for one in shared.charges] == rows


@given(any_clusters())
def test_every_pod_pays_what_the_slow_way_finds(cluster: Cluster) -> None:
    nodes, rows = cluster
    shared = share_nodes(rows, nodes)
    found = by_pod(shared.charges)
    for account, exact in zip(shared.accounts, slowly(nodes, rows), strict=True):
        life = account.life_microseconds
        for uid, microseconds in exact.pods.items():
            assert nearly(found[uid], microseconds, life), (uid, found[uid], microseconds)
        assert nearly(account.overhead_microseconds, exact.overhead, life)
        assert abs(account.idle_microseconds - exact.idle) <= life * Fraction(8, 10**6) + 10


@given(any_clusters())
def test_what_pods_pay_is_what_their_nodes_call_workload(cluster: Cluster) -> None:
    nodes, rows = cluster
    shared = share_nodes(rows, nodes)
    for account in shared.accounts:
        own = [c for c in shared.charges if c.usage.node_uid == account.node.node_uid]
        assert sum(one.billed_microseconds for one in own) == account.workload_microseconds
        paid = sum((one.hardware_usd for one in own), Decimal(0))
        assert abs(paid - account.workload_usd) <= Decimal(len(own) + 1).scaleb(-15)
        price = account.node.price_usd_per_hour
        whole = account.workload_usd + account.overhead_usd + account.idle_usd
        exact = Fraction(str(price)) * account.life_microseconds / HOUR
        assert abs(Fraction(whole) - exact) <= Fraction(2, 10**15)


@given(any_clusters(), st.data())
def test_cutting_lives_into_phases_and_rows_changes_nothing(
    cluster: Cluster, data: st.DataObject
) -> None:
    nodes, rows = cluster
    cut = [piece for row in rows for piece in data.draw(any_cuts(row))]
    whole, pieces = share_nodes(rows, nodes), share_nodes(cut, nodes)
    assert by_pod(pieces.charges) == by_pod(whole.charges)
    assert totals(pieces) == totals(whole)


@given(any_clusters(), st.randoms())
def test_the_order_of_rows_and_nodes_changes_nothing(
    cluster: Cluster, chance: random.Random
) -> None:
    nodes, rows = cluster
    mixed, others = rows[:], nodes[:]
    chance.shuffle(mixed)
    chance.shuffle(others)
    first, second = share_nodes(rows, nodes), share_nodes(mixed, others)
    assert {c.usage: c.billed_microseconds for c in first.charges} == {
        c.usage: c.billed_microseconds for c in second.charges
    }
    assert sorted(totals(first)) == sorted(totals(second))


@given(any_clusters())
def test_nodes_never_mix(cluster: Cluster) -> None:
    """Spot and on demand of one machine type are nodes of their own."""
    nodes, rows = cluster
    together = {one.usage: one.billed_microseconds for one in share_nodes(rows, nodes).charges}
    for node in nodes:
        own = [row for row in rows if row.node_uid == node.node_uid]
        for one in share_nodes(own, [node]).charges:
            assert one.billed_microseconds == together[one.usage]
            assert one.usage.price_usd_per_hour == node.price_usd_per_hour
            assert one.usage.spot == node.spot


@given(any_clusters(), st.lists(st.integers(0, 5000), max_size=3))
def test_days_add_up_to_the_week(cluster: Cluster, cuts: list[int]) -> None:
    nodes, rows = cluster
    bounds = [-SECOND, *(cut * SECOND for cut in sorted(cuts)), 6000 * SECOND]
    days = [share_nodes(rows, nodes, window) for window in itertools.pairwise(bounds)]
    whole = share_nodes(rows, nodes)
    for uid, microseconds in by_pod(whole.charges).items():
        some = sum(by_pod(day.charges).get(uid, 0) for day in days)
        assert 0 <= microseconds - some <= len(days)
    for number, (life, *_) in enumerate(totals(whole)):
        assert sum(totals(day)[number][0] for day in days) == life
        assert all(min(totals(day)[number]) >= 0 for day in days)


@given(any_nodes("n"))
def test_prices_of_cpu_memory_and_accelerators_add_up_to_the_nodes(node: Node) -> None:
    node = replace(
        node,
        cpu_allocatable_cores=node.cpu_capacity_cores,
        memory_allocatable_bytes=node.memory_capacity_bytes,
    )
    start, stop = node.start_microseconds // SECOND, node.stop_microseconds // SECOND
    nothing = {"cpu_request_cores": 0.0, "memory_request_bytes": 0}
    rows = [
        a_pod(start, stop, "c", **nothing | {"cpu_request_cores": node.cpu_capacity_cores}),
        a_pod(start, stop, "m", **nothing | {"memory_request_bytes": node.memory_capacity_bytes}),
        a_pod(start, stop, "a", **nothing, accelerator_count=node.accelerator_capacity),
    ]
    shared = share_nodes(rows, [node])
    life = node.stop_microseconds - node.start_microseconds
    shares = (node.cpu_share, node.memory_share, node.accelerator_share)
    assert sum(shares) == 1
    for one, share in zip(shared.charges, shares, strict=True):
        assert nearly(one.billed_microseconds, Fraction(share) * life, life)
    assert shared.accounts[0].overhead_microseconds == 0
    assert shared.accounts[0].idle_microseconds <= 3


@pytest.mark.parametrize(
    ("pods", "seconds"),
    [
        pytest.param([{}], [360 * (0.6 / 8 + 0.4 / 8)], id="a request"),
        pytest.param(
            [{"cpu_used_core_seconds": 720.0}], [360 * (0.6 * 2 / 8 + 0.4 / 8)], id="use above it"
        ),
        pytest.param([{"cpu_used_core_seconds": 9.0}], [360 * (0.6 / 8 + 0.4 / 8)], id="use below"),
        pytest.param(
            [{"cpu_request_cores": 16.0}, {"cpu_request_cores": 16.0}],
            [360 * (0.3 + 0.4 / 8)] * 2,
            id="requests over the node's",
        ),
        pytest.param(
            [{"cpu_request_cores": 6.0}, {"cpu_used_core_seconds": 360 * 6.0}],
            [360 * (0.6 * 6 / 8 + 0.4 / 8), 360 * (0.6 * 2 / 8 + 0.4 / 8)],
            id="a burst gives way to requests",
        ),
        pytest.param([{"phase": "queue"}], [0], id="a queue holds nothing"),
        pytest.param([{"node_uid": "other"}], [0], id="another node's"),
    ],
)
def test_a_pods_share_of_its_node(pods: list[dict[str, object]], seconds: list[float]) -> None:
    rows = [
        a_pod(0, 360, str(n), **({"memory_request_bytes": 4 * GIB} | pod))
        for n, pod in enumerate(pods)
    ]
    charges = share_nodes(rows, [a_node()]).charges
    assert [one.billed_seconds for one in charges] == pytest.approx(seconds, rel=1e-6)


def test_a_fractional_accelerator_is_shared_by_request() -> None:
    node = a_node(
        accelerator="gpu", accelerator_capacity=1.0,
        cpu_share=0.0, memory_share=0.0, accelerator_share=1.0,
    )  # fmt: skip
    rows = [a_pod(0, 3600, str(part), accelerator_count=part) for part in (0.25, 0.25, 0.5)]
    shared = share_nodes(rows, [node])
    assert [one.billed_seconds for one in shared.charges] == [900, 900, 1800]
    assert shared.accounts[0].idle_microseconds == 0


def test_a_node_without_pods_is_idle_and_overhead() -> None:
    node = a_node(cpu_allocatable_cores=6.0)
    (account,) = share_nodes([], [node]).accounts
    assert account.workload_microseconds == 0
    assert (account.overhead_usd, account.idle_usd) == (Decimal("0.15"), Decimal("0.85"))
