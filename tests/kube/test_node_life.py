"""Intervals of a node's life, from how the API server shows it."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tally.costing.ledger import open_ledger
from tally.costing.nodes import Node
from tally.kube.nodelife import node_capacity, node_life
from tally.machines.priced import PricedMachine
from tally.machines.shares import OPENCOST, PriceShares

pytestmark = pytest.mark.exact

SECOND = 1_000_000
CREATED = 1_795_000_000 * SECOND
SHARES = PriceShares(0.5, 0.25, 0.25)
PRICED = PricedMachine(
    machine_type="g2-standard-4",
    provider="gke",
    region="us-central1",
    price_region="us-central1",
    spot=True,
    price_usd_per_hour=0.7,
    list_price_usd_per_hour=0.7,
    software_usd_per_hour=0.0,
    currency="USD",
    catalogue_version="2026-11",
    weights=OPENCOST,
)
LABELS = {
    "node.kubernetes.io/instance-type": "g2-standard-4",
    "topology.kubernetes.io/region": "us-central1",
    "cloud.google.com/gke-spot": "true",
    "cloud.google.com/gke-accelerator": "nvidia-l4",
}
HAS = {"cpu": "4", "memory": "16Gi", "nvidia.com/gpu": "1", "pods": "110"}
GIVES = {"cpu": "3920m", "memory": "13Gi", "nvidia.com/gpu": "1"}


def node(labels: dict[str, str] | None = None, **status: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "name": "l4-0",
            "uid": "uid-1",
            "creationTimestamp": "2026-11-18T11:06:40Z",
            "labels": LABELS if labels is None else labels,
        },
        "status": {"capacity": HAS, "allocatable": GIVES, **status},
    }


def lives(
    seen: dict[str, Any] | None = None,
    priced: PricedMachine | None = PRICED,
    *,
    seconds: float,
    gone: bool = False,
    heard: float | None = None,
    before: Node | None = None,
    shares: PriceShares = SHARES,
) -> list[Node]:
    """Its newest intervals so long after its creation."""
    return node_life(
        seen or node(),
        priced,
        shares,
        now_microseconds=CREATED + round(seconds * SECOND),
        gone=gone,
        last_heard_microseconds=None if heard is None else CREATED + round(heard * SECOND),
        before=before,
    )


def span(life: Node) -> tuple[float, float | None, float]:
    """Start, end and heartbeat in seconds since the creation."""
    start, end, heard = (
        None if moment is None else (moment - CREATED) / SECOND
        for moment in (
            life.start_microseconds,
            life.end_microseconds,
            life.heartbeat_at_microseconds,
        )
    )
    assert start is not None and heard is not None
    return start, end, heard


def test_a_node_begins_when_it_was_created_and_lasts_until_it_was_heard_of() -> None:
    (life,) = lives(seconds=60, heard=55)
    assert span(life) == (0, None, 55)
    assert (life.machine_type, life.spot, life.price_usd_per_hour) == ("g2-standard-4", True, 0.7)
    assert (life.cpu_capacity_cores, life.cpu_allocatable_cores) == (4.0, 3.92)
    assert (life.memory_capacity_bytes, life.memory_allocatable_bytes) == (2**34, 13 * 2**30)
    assert (life.accelerator, life.accelerator_capacity) == ("nvidia-l4", 1.0)
    assert (life.cpu_share, life.memory_share, life.accelerator_share) == (0.5, 0.25, 0.25)


def test_the_same_node_later_is_the_same_interval() -> None:
    (first,) = lives(seconds=60, heard=55)
    (later,) = lives(seconds=90, heard=85, before=first)
    assert later == replace(first, heartbeat_at_microseconds=CREATED + 85 * SECOND)
    (silent,) = lives(seconds=120, heard=50, before=later)
    assert span(silent) == (0, None, 85)


@pytest.mark.parametrize(
    ("heard", "end"), [(55, 55), (None, 60), (70, 60)], ids=["Lease", "no Lease", "clock ahead"]
)
def test_a_node_that_is_gone_ended_when_it_was_last_heard_of(heard: float, end: float) -> None:
    (first,) = lives(seconds=57, heard=57)
    (gone,) = lives(seconds=60, gone=True, heard=heard, before=first)
    assert span(gone) == (0, end, end)
    assert lives(seconds=99, gone=True, heard=heard, before=gone) == [gone]
    (unseen,) = lives(seconds=60, gone=True, heard=heard)
    assert span(unseen) == (0, end, end)


@pytest.mark.parametrize(
    ("seen", "priced", "shares"),
    [
        (node(), replace(PRICED, price_usd_per_hour=0.9), SHARES),
        (node(), replace(PRICED, catalogue_version="2027-01"), SHARES),
        (node(), None, SHARES),
        (node(capacity={**HAS, "cpu": "8"}), PRICED, SHARES),
        (node(allocatable={**GIVES, "memory": "12Gi"}), PRICED, SHARES),
        (node(), PRICED, PriceShares(0.5, 0.5, 0.0)),
        (node({**LABELS, "cloud.google.com/gke-accelerator": "nvidia-a100"}), PRICED, SHARES),
    ],
    ids=["price", "catalogue", "no price", "cores", "reserve", "shares", "accelerator"],
)
def test_another_price_or_shape_ends_an_interval_and_begins_the_next(
    seen: dict[str, Any], priced: PricedMachine | None, shares: PriceShares
) -> None:
    (first,) = lives(seconds=60, heard=55)
    closed, begun = lives(seen, priced, seconds=90, heard=88, before=first, shares=shares)
    assert span(closed) == (0, 90, 90)
    assert span(begun) == (90, None, 90)
    at_90 = CREATED + 90 * SECOND
    assert closed == replace(first, end_microseconds=at_90, heartbeat_at_microseconds=at_90)
    (later,) = lives(seen, priced, seconds=120, heard=118, before=begun, shares=shares)
    assert span(later) == (90, None, 118)


def test_a_first_price_belongs_to_the_whole_interval() -> None:
    other = PriceShares(1.0, 0.0, 0.0)
    (unpriced,) = lives(priced=None, seconds=60, heard=55, shares=other)
    assert (unpriced.price_usd_per_hour, unpriced.catalogue_version) == (0.0, "")
    known = (unpriced.machine_type, unpriced.region, unpriced.spot)
    assert known == ("g2-standard-4", "us-central1", True)
    (priced,) = lives(seconds=90, heard=85, before=unpriced)
    assert span(priced) == (0, None, 85)
    assert (priced.price_usd_per_hour, priced.cpu_share) == (0.7, 0.5)


def test_a_change_in_the_moment_of_its_start_is_the_start() -> None:
    (first,) = lives(seconds=0)
    (changed,) = lives(priced=replace(PRICED, price_usd_per_hour=0.9), seconds=0, before=first)
    assert (span(changed), changed.price_usd_per_hour) == ((0, None, 0), 0.9)
    assert changed.node_life_id == first.node_life_id


def test_a_node_thought_gone_goes_on_from_there() -> None:
    (first,) = lives(seconds=60, heard=55)
    (gone,) = lives(seconds=60, gone=True, heard=55, before=first)
    (back,) = lives(seconds=90, heard=88, before=gone)
    assert span(back) == (55, None, 88)
    assert back.node_life_id != gone.node_life_id


def test_a_shared_gpu_is_one_and_slices_of_one_are_parts() -> None:
    shared = {**LABELS, "nvidia.com/gpu.replicas": "8"}
    assert node_capacity(node(shared, capacity={"nvidia.com/gpu": "16"})).accelerators == 2.0
    sliced = node(capacity={"nvidia.com/mig-1g.5gb": "7", "nvidia.com/gpu": "0"})
    assert node_capacity(sliced).accelerators == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("labels", "accelerator"),
    [
        ({"cloud.google.com/gke-tpu-accelerator": "tpu-v5-lite-podslice"}, "tpu-v5-lite-podslice"),
        ({"nvidia.com/gpu.product": "NVIDIA-L4"}, "NVIDIA-L4"),
        ({}, "accelerator"),
    ],
)
def test_an_accelerator_is_named_by_its_label(labels: dict[str, str], accelerator: str) -> None:
    (life,) = lives(node(labels), seconds=60)
    assert life.accelerator == accelerator
    (without,) = lives(node(labels, capacity={"cpu": "4"}), seconds=60)
    assert without.accelerator == ""


def test_a_node_that_has_not_told_what_it_has_has_nothing() -> None:
    has = node_capacity({"metadata": {"name": "n", "uid": "u"}, "status": {}})
    assert (has.cpu_cores, has.memory_bytes, has.accelerators) == (0.0, 0, 0.0)


def test_the_ledger_keeps_the_intervals_apart(tmp_path: Path) -> None:
    with open_ledger(f"sqlite:///{tmp_path}/ledger.db") as ledger:
        (first,) = lives(seconds=60, heard=55)
        ledger.write_nodes([first])
        ledger.write_nodes(lives(priced=None, seconds=90, heard=88, before=ledger.nodes()[-1]))
        ledger.write_nodes(lives(seconds=99, gone=True, heard=98, before=ledger.nodes()[-1]))
        kept = ledger.nodes()
    assert [span(life)[:2] for life in kept] == [(0, 90), (90, 98)]
    assert [life.catalogue_version for life in kept] == ["2026-11", ""]


@settings(deadline=None, max_examples=200)
@given(st.lists(st.tuples(st.integers(0, 90), st.sampled_from([0.5, 0.7]), st.booleans()),
                min_size=1, max_size=12))  # fmt: skip
def test_a_life_has_no_gap_and_no_overlap_however_prices_change(
    looks: list[tuple[int, float, bool]],
) -> None:
    kept: dict[str, Node] = {}
    before, now = None, 0
    for wait, price, gone in looks:
        now += wait
        priced = replace(PRICED, price_usd_per_hour=price)
        for life in lives(priced=priced, seconds=now, heard=now, gone=gone, before=before):
            kept[life.node_life_id] = before = life
    found = sorted(kept.values(), key=lambda life: life.start_microseconds)
    assert found[0].start_microseconds == CREATED
    for life, following in pairwise(found):
        assert life.end_microseconds is not None
        gap = following.start_microseconds - life.end_microseconds
        assert gap in (0, 1)  # 1 µs where a life of no length was begun again
