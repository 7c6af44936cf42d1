"""What /metrics shows of a real ledger."""

import math
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from helpers.metered_runs import (
    DAY,
    HOUR,
    NOON,
    PRICE,
    SECOND,
    billed_usd,
    heard,
    life,
    node,
    pod,
    run,
)
from tally.costing.ledger import Ledger, open_ledger
from tally.costing.quotes import Quote
from tally.meter.accrual import Series, accrued
from tally.meter.exposition import Exposition, MeterState
from tally.meter.snapshot import SHOWN_SECONDS, take

pytestmark = pytest.mark.exact

WELL = MeterState(last_write_microseconds=NOON, ledger_errors=0)
Shown = dict[str, dict[tuple[tuple[str, str], ...], float]]


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    with open_ledger() as opened:
        yield opened


def read(text: bytes) -> Shown:
    """Values by name and labels, as Prometheus parses them."""
    found: Shown = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            labels = tuple(sorted(sample.labels.items()))
            assert labels not in found.setdefault(sample.name, {}), "a series twice"
            found[sample.name][labels] = sample.value
    return found


def shown(ledger: Ledger, now: int = NOON, exposition: Exposition | None = None) -> Shown:
    exposition = exposition or Exposition()
    exposition.show(take(ledger, now))
    return read(exposition.text(WELL))


def by_phase(values: Shown, name: str = "tally_cost_usd_total") -> dict[str, float]:
    return {dict(labels)["phase"]: value for labels, value in values.get(name, {}).items()}


def cost(values: Shown, run_id: str = "run-a") -> float:
    series = values.get("tally_cost_usd_total", {}).items()
    return math.fsum(value for labels, value in series if dict(labels)["run"] == run_id)


def test_the_counters_of_a_run_add_up_to_the_ledgers_bill(ledger: Ledger) -> None:
    ledger.write_nodes([node(software_usd_per_hour=0.03)])
    ledger.put_run(run())
    for index in range(3):
        start = NOON - HOUR + index * 77 * SECOND
        used = {"cpu_used_core_seconds": 900.0 * index, "software_usd_per_hour": 0.03}
        ledger.write_usage(life(f"pod-{index}", start, None if index else NOON, **used))
    values = shown(ledger)
    assert cost(values) == pytest.approx(float(billed_usd(ledger, "run-a")), rel=1e-12)
    assert by_phase(values).keys() == {"startup", "work"}
    assert sum(values["tally_time_usd_total"].values()) == pytest.approx(2.0, rel=1e-9)


def test_names_and_labels_are_those_that_dashboards_ask_for(ledger: Ledger) -> None:
    ledger.write_nodes([node(accelerator_capacity=1, cpu_share=0.4, accelerator_share=0.25)])
    ledger.write_usage(life("pod-1", NOON - HOUR, None, accelerator_count=1, wait_seconds=7.0))
    ledger.write_usage([pod("pod-2", "queue", NOON - 400 * SECOND, None)])
    ledger.put_quote(
        Quote(
            run_id="run-a",
            namespace="team-a",
            made_at_microseconds=NOON - HOUR,
            low_usd=1.0,
            expected_usd=1.5,
            high_usd=2.0,
            budget_usd=3.0,
        )
    )
    values = shown(ledger)
    run_labels = {"run", "pipeline", "team"}
    of_series = {*run_labels, "step", "machine_type", "phase"}
    of_node = {"instance", "node", "instance_type", "provider", "region", "spot", "uid"}
    wanted: dict[str, set[str]] = {
        "tally_cost_usd_total": of_series,
        "tally_queue_seconds_total": of_series,
        "tally_accelerator_seconds_total": of_series,
        "tally_wait_seconds_total": of_series,
        "tally_pods": of_series,
        "tally_time_usd_total": run_labels,
        "tally_quote_usd": {*run_labels, "bound"},
        "tally_budget_usd": run_labels,
        "tally_pending_seconds": {*run_labels, "step"},
        "tally_day_cost_usd": {"day", "pipeline", "team", "machine_type", "phase"},
        "node_total_hourly_cost": of_node,
        "node_cpu_hourly_cost": of_node,
        "node_ram_hourly_cost": of_node,
        "node_gpu_hourly_cost": of_node,
        "tally_meter_snapshot_timestamp_seconds": set(),
        "tally_meter_last_write_timestamp_seconds": set(),
        "tally_meter_ledger_errors_total": set(),
    }
    for name, labels in wanted.items():
        assert values[name], name
        assert {key for series in values[name] for key, _ in series} == labels, name
    assert max(values["tally_pending_seconds"].values()) == 400.0
    bounds = {dict(labels)["bound"]: usd for labels, usd in values["tally_quote_usd"].items()}
    assert bounds == {"low": 1.0, "expected": 1.5, "high": 2.0}
    [cores] = values["node_cpu_hourly_cost"].values()
    [gibibytes] = values["node_ram_hourly_cost"].values()
    [accelerators] = values["node_gpu_hourly_cost"].values()
    assert 4 * cores + 16 * gibibytes + accelerators == pytest.approx(PRICE)


def test_no_label_holds_a_pods_name_or_uid(ledger: Ledger) -> None:
    ledger.write_nodes([node()])
    for name in ("tally-run-a-train-0-x7k2p", "c0ffee00-0000-4000-8000-000000000001"):
        ledger.write_usage(life(name, NOON - HOUR, None, worker="3", container="pod"))
    exposition = Exposition()
    exposition.show(take(ledger, NOON))
    text = exposition.text(WELL).decode()
    assert 'run="run-a"' in text
    assert "x7k2p" not in text
    assert "c0ffee00" not in text


def test_a_label_with_a_newline_and_quotes_comes_through_whole(ledger: Ledger) -> None:
    odd = 'two\nlines "and" \\ more'
    ledger.write_nodes([node()])
    ledger.write_usage(life("pod-1", NOON - HOUR, None, pipeline=odd))
    assert {dict(labels)["pipeline"] for labels in shown(ledger)["tally_cost_usd_total"]} == {odd}


def test_series_leave_one_hour_after_their_runs_end(ledger: Ledger) -> None:
    ledger.write_nodes([node(), node("node-1", heartbeat_at_microseconds=NOON + 2 * HOUR)])
    ledger.write_usage(life("pod-1", NOON - HOUR, NOON))
    ledger.write_usage(heard(life("pod-2", NOON - HOUR, None, run_id="run-b"), NOON + 2 * HOUR))
    exposition = Exposition()
    left = NOON + SHOWN_SECONDS * SECOND
    there = shown(ledger, left - SECOND, exposition)
    assert cost(there) > 0
    gone = shown(ledger, left + SECOND, exposition)
    assert cost(gone) == 0
    assert cost(gone, "run-b") > 0
    assert not [
        name for name, series in gone.items() for labels in series if "run-a" in str(labels)
    ]


def test_what_becomes_another_phases_later_makes_no_counter_fall(ledger: Ledger) -> None:
    """A burst in the start is spread over the life; work turns into restart; sums stay exact."""
    ledger.write_nodes([node(heartbeat_at_microseconds=NOON + HOUR)])
    ledger.put_run(run())
    began = NOON - 300 * SECOND
    exposition = Exposition()
    before: dict[str, float] = {}
    taken_back: set[str] = set()
    for minute in range(1, 20):
        now = began + minute * 60 * SECOND
        rows = heard(life("pod-1", began, None), now)
        rows[1] = replace(rows[1], cpu_used_core_seconds=60.0)  # three cores, of one asked for
        ledger.write_usage(rows)
        if minute == 10:
            lost = {"source": "conductor", "phase": "restart"}
            start, stop = began + 120 * SECOND, began + 480 * SECOND
            ledger.write_usage([replace(pod("pod-1", "work", start, stop), **lost)])
        values = shown(ledger, now, exposition)
        assert cost(values) == pytest.approx(float(billed_usd(ledger, "run-a")), rel=1e-12)
        phases = by_phase(values)
        assert all(phases[phase] >= usd for phase, usd in before.items())
        fresh = by_phase(shown(ledger, now))
        taken_back |= {phase for phase, usd in before.items() if fresh[phase] < usd}
        before = phases
    assert taken_back == {"startup", "work"}, "the ledger took nothing back: the case is none"


def test_a_heartbeat_later_than_the_end_is_taken_back_once_nothing_lasts(ledger: Ledger) -> None:
    """Short runs: two seconds too many would be more than a thousandth of their bill."""
    ledger.write_nodes([node()])
    ledger.put_run(run())
    began = NOON - 60 * SECOND
    exposition = Exposition()
    ledger.write_usage(heard(life("pod-1", began, None), NOON))
    believed = cost(shown(ledger, NOON, exposition))
    ledger.write_usage(life("pod-1", began, NOON - 2 * SECOND))
    told = cost(shown(ledger, NOON + SECOND, exposition))
    assert told == pytest.approx(float(billed_usd(ledger, "run-a")), rel=1e-12)
    assert told < believed


@settings(deadline=None)  # a busy machine is no failure
@given(
    st.lists(
        st.lists(st.floats(0, 1e6), min_size=4, max_size=4).filter(lambda parts: sum(parts) > 0),
        max_size=20,
    )
)
def test_counters_rise_whatever_the_ledger_says_and_add_up_to_the_most_it_said(
    told: list[list[float]],
) -> None:
    places = [Series("r", "p", "s", "t", "m", phase) for phase in "abcd"]
    before: dict[Series, float] = {}
    most = 0.0
    for parts in told:
        counted = {place: usd for place, usd in zip(places, parts, strict=True) if usd}
        after = accrued(before, counted, [("t", "r")])
        assert all(after[place] >= usd for place, usd in before.items())
        most = max(most, math.fsum(parts))
        assert math.fsum(after.values()) == pytest.approx(most, rel=1e-9)
        before = after
    assert accrued(before, {}, []) == {}


def test_a_restarted_meter_shows_the_same_again(ledger: Ledger) -> None:
    ledger.write_nodes([node()])
    ledger.write_usage(life("pod-1", NOON - HOUR, None, cpu_used_core_seconds=500.0))
    exposition = Exposition()
    first = shown(ledger, NOON, exposition)
    assert shown(ledger, NOON, exposition) == first
    assert shown(ledger, NOON) == first


def test_a_machine_type_without_a_price_is_named_and_never_costs_nothing(ledger: Ledger) -> None:
    unknown = {"machine_type": "x9-mega", "price_usd_per_hour": 0.0, "catalogue_version": ""}
    ledger.write_nodes([node(**unknown)])
    ledger.write_usage(life("pod-1", NOON - HOUR, None, **unknown))
    values = shown(ledger)
    assert values["tally_meter_unpriced_nodes"] == {(("machine_type", "x9-mega"),): 1.0}
    for name in ("tally_cost_usd_total", "tally_day_cost_usd", "node_total_hourly_cost"):
        assert name not in values
    assert by_phase(values, "tally_queue_seconds_total") == {"queue": 5.0}
    assert by_phase(values, "tally_pods") == {"work": 1.0}
    ledger.reprice(
        "x9-mega", False, price_usd_per_hour=1.0, list_price_usd_per_hour=1.0,
        software_usd_per_hour=0.0, provider="gke", currency="USD", catalogue_version="2026-11-02",
    )  # fmt: skip
    values = shown(ledger)
    assert cost(values) > 0
    assert "tally_meter_unpriced_nodes" not in values
    assert set(values["node_total_hourly_cost"].values()) == {1.0}


def test_the_days_add_up_to_the_price_of_the_nodes_that_were_there(ledger: Ledger) -> None:
    ledger.write_nodes([node(start=NOON - 20 * HOUR), node("node-1")])
    ledger.write_usage(life("pod-1", NOON - 15 * HOUR, NOON - HOUR))
    ledger.write_usage(
        life("pod-2", NOON - HOUR, None, run_id="", pipeline="", node_uid="uid-node-1")
    )
    days: dict[str, dict[tuple[str, str], float]] = {}
    for labels, usd in shown(ledger)["tally_day_cost_usd"].items():
        named = dict(labels)
        day = days.setdefault(named["day"], {})
        key = named["pipeline"], named["phase"]
        day[key] = day.get(key, 0.0) + usd
    assert list(days) == ["2024-10-04", "2024-10-03"]
    today, yesterday = days.values()
    assert math.fsum(today.values()) == pytest.approx(PRICE * (12 + 10), rel=1e-9)
    assert math.fsum(yesterday.values()) == pytest.approx(PRICE * 8, rel=1e-9)
    assert today.keys() == {
        ("cnn", "work"), ("", "startup"), ("", "work"), ("", "idle"), ("", "overhead"),
    }  # fmt: skip


def test_a_day_is_read_again_when_it_is_old_and_once_it_is_over(ledger: Ledger) -> None:
    midnight = NOON + 12 * HOUR
    ledger.write_nodes([node(heartbeat_at_microseconds=midnight + HOUR)])
    before = take(ledger, midnight - 30 * SECOND)
    soon = take(ledger, midnight - SECOND, before)
    assert soon.days == before.days
    after = take(ledger, midnight + SECOND, soon)
    assert [day.day for day in after.days] == ["2024-10-05", "2024-10-04"]
    assert sum(after.days[1].costs_usd.values()) == pytest.approx(PRICE * 22, rel=1e-9)
    assert take(ledger, midnight + 62 * SECOND, after).days[0] != after.days[0]
    assert take(ledger, midnight + 62 * SECOND, after).days[1] is after.days[1]
    assert take(ledger, midnight + DAY, after).days[1].read_at_microseconds == midnight + DAY


def test_an_empty_ledger_shows_the_meters_own_state_only(ledger: Ledger) -> None:
    exposition = Exposition()
    exposition.show(take(ledger, NOON))
    failing = MeterState(last_write_microseconds=None, ledger_errors=3, unwritten_rows=12)
    assert read(exposition.text(failing)) == {
        "tally_meter_snapshot_timestamp_seconds": {(): NOON / 1e6},
        "tally_meter_ledger_errors_total": {(): 3.0},
        "tally_meter_unwritten_rows": {(): 12.0},
    }
