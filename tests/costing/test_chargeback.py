"""Chargeback: whatever charges are grouped by, the lines add up to what was charged."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.costing.cluster_rows import GIB, NOVEMBER_END, node, pod
from helpers.costing.histories import HOUR, any_rows, row
from tally.costing.allocation import Charge, charge
from tally.costing.chargeback import FIGURES, NAMES, chargeback, parse_by, table, total
from tally.costing.days import DAY_MICROSECONDS, parts, refuse_unpriced
from tally.costing.merge import merge
from tally.costing.node_shares import NodeAccount, share_nodes
from tally.costing.usage import Usage
from tally.errors import SpecError

pytestmark = pytest.mark.exact

names = st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True).map(tuple)


@given(st.lists(any_rows(), max_size=12), st.integers(1, 90), names)
def test_lines_of_any_grouping_add_up_to_the_charges_exactly(
    rows: list[Usage], stretch: int, by: tuple[str, ...]
) -> None:
    # a made row lasts 80 steps at most: stretched to up to two months around a change of month
    step = stretch * 16 * HOUR // 24
    far = [
        replace(
            one,
            start_microseconds=NOVEMBER_END + (one.start_microseconds - 40) * step,
            end_microseconds=NOVEMBER_END + (one.stop_microseconds - 40) * step + 1,
        )
        for one in rows
    ]
    charges = charge(merge(far))
    lines = chargeback(charges, [], by)
    whole = total(lines)
    assert whole.hardware_usd == sum((one.hardware_usd for one in charges), Decimal(0))
    assert whole.software_usd == sum((one.software_usd for one in charges), Decimal(0))
    assert whole.billed_microseconds == sum(one.billed_microseconds for one in charges)
    held = [one.usage for one in charges if one.usage.phase != "queue"]
    lasted = sum(one.stop_microseconds - one.start_microseconds for one in held)
    assert whole.held_microseconds == lasted
    assert len({(line.key, line.kind) for line in lines}) == len(lines)
    assert all(line.sum.billed_microseconds >= 0 for line in lines)


def test_what_lasts_over_the_end_of_a_month_is_cut_there_by_time() -> None:
    begin, end = NOVEMBER_END - HOUR, NOVEMBER_END + 2 * HOUR
    lines = chargeback(
        charge([row(begin, end, accelerator_count=0.5, memory_request_bytes=GIB)]), [], ("month",)
    )
    assert [(line.key, line.kind) for line in lines] == [
        (("2026-11",), "workload"),
        (("2026-12",), "workload"),
    ]
    assert [line.sum.hardware_usd for line in lines] == [Decimal("0.1"), Decimal("0.2")]
    assert [line.sum.hours for line in lines] == [1.0, 2.0]
    assert [line.sum.cpu_core_hours for line in lines] == [1.0, 2.0]
    assert [line.sum.memory_gib_hours for line in lines] == [1.0, 2.0]
    assert [line.sum.accelerator_hours for line in lines] == [0.5, 1.0]


def test_parts_of_a_charge_lie_in_their_days() -> None:
    begin, end = NOVEMBER_END - 30 * HOUR, NOVEMBER_END + 3 * DAY_MICROSECONDS
    (one,) = charge([row(begin, end)])
    cut = list(parts(one))
    assert [piece.usage.start_microseconds for piece in cut][1:] == [
        piece.usage.stop_microseconds for piece in cut
    ][:-1]
    for piece in cut:
        assert piece.day_microseconds % DAY_MICROSECONDS == 0
        assert piece.day_microseconds <= piece.usage.start_microseconds
        assert piece.usage.stop_microseconds <= piece.day_microseconds + DAY_MICROSECONDS
    assert len(cut) == 5


def test_teams_idle_and_overhead_are_the_nodes_invoice() -> None:
    rows = [
        pod(0, 2 * HOUR, cpu_request_cores=1.0),
        pod(0, HOUR, pod_uid="pod-2", team="team-b", namespace="team-b", cpu_request_cores=1.5),
        pod(0, HOUR, pod_uid="pod-3", run_id="", step="", team="kube-system", phase="work"),
        pod(0, HOUR, pod_uid="pod-4", phase="queue", node_uid=""),
    ]
    nodes = [node(0, 3 * HOUR, software_usd_per_hour=0.05)]
    rows = [replace(one, software_usd_per_hour=0.05) for one in rows]
    shared = share_nodes(rows, nodes)
    lines = chargeback(shared.charges, [(0, one) for one in shared.accounts], ("team",))
    assert [(line.key[0], line.kind) for line in lines] == [
        ("", "idle"),
        ("", "overhead"),
        ("kube-system", "workload"),
        ("team-a", "workload"),
        ("team-b", "workload"),
    ]
    whole = total(lines)
    assert whole.hours == 3.0
    assert whole.hardware_usd == pytest.approx(Decimal("1.2"), abs=Decimal("1e-14"))
    assert whole.software_usd == pytest.approx(Decimal("0.15"), abs=Decimal("1e-14"))
    team_a = lines[3].sum
    # an hour on two of 16 GiB and one of 4 cores, for two hours
    assert team_a.hardware_usd == pytest.approx(Decimal("0.175"), abs=Decimal("1e-9"))
    assert (team_a.cpu_core_hours, team_a.memory_gib_hours) == (2.0, 4.0)


def test_the_table_has_a_column_a_name_and_nothing_asked_for_of_what_is_idle() -> None:
    shared = share_nodes([pod(0, HOUR)], [node(0, HOUR, spot=True)])
    by = ("month", "machine_type", "spot", "phase", "run")
    rows = table(chargeback(shared.charges, [(0, one) for one in shared.accounts], by), by)
    assert [tuple(one) for one in rows] == [(*by, "kind", *FIGURES)] * 3
    idle, overhead, work = sorted(rows, key=lambda one: str(one["kind"]))
    assert (idle["spot"], idle["phase"], idle["run"]) == ("spot", "", "")
    assert (overhead["kind"], overhead["cpu_core_hours"]) == ("overhead", None)
    assert (work["month"], work["spot"], work["phase"]) == ("1970-01", "on-demand", "work")


def test_what_waits_costs_nothing_and_holds_nothing() -> None:
    (line,) = chargeback(charge([row(0, HOUR, phase="queue")]), [], ("phase",))
    assert line.key == ("queue",)
    assert (line.sum.hardware_usd, line.sum.hours, line.sum.cpu_core_hours) == (0, 0.0, 0.0)


@pytest.mark.parametrize("text", ["team,month", " team  month ", "team,month,team"])
def test_names_are_words_in_order_once_each(text: str) -> None:
    assert parse_by(text) == ("team", "month")


@pytest.mark.parametrize("text", ["", " , ", "teams", "team;month"])
def test_a_name_that_is_none_is_refused_with_those_that_are(text: str) -> None:
    with pytest.raises(SpecError, match=r"BY: expected some of team, .*; pass BY=team,month"):
        parse_by(text)


def test_what_has_no_price_is_never_billed_as_zero() -> None:
    nothing = {"price_usd_per_hour": 0.0, "catalogue_version": ""}
    bad = [Charge(pod(0, HOUR, machine_type="odd-8", **nothing), HOUR)]
    with pytest.raises(SpecError, match=r"odd-8.*machine_types\.odd-8.*TALLY_MACHINES"):
        refuse_unpriced(bad, [])
    empty = NodeAccount(node(0, HOUR, machine_type="odd-9", **nothing), HOUR, 0, 0, HOUR)
    with pytest.raises(SpecError, match="odd-9"):
        refuse_unpriced([], [empty])
    free = {"price_usd_per_hour": 0.0, "catalogue_version": "1"}
    refuse_unpriced([Charge(pod(0, HOUR, **free), HOUR)], [])
    refuse_unpriced([Charge(pod(0, HOUR, phase="queue", **nothing), 0)], [])
