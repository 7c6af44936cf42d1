"""/v1/charges: what leaves the meter is what its own ledger charges, to the last digit."""

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from helpers.metered_runs import DAY, HOUR, NOON, SECOND, life, node, pod, run
from helpers.served_meter import OWN, Meter, served_meter, token_of, until
from tally.costing import chargeback, charged
from tally.costing.allocation import Charge
from tally.costing.days import Charged
from tally.costing.documents import charge_of
from tally.costing.focus import focus_rows
from tally.costing.merge import merge
from tally.costing.node_shares import share_nodes
from tally.costing.usage import Usage
from tally.errors import SpecError
from tally.meter import charging
from tally.meterclient import MeterClient

TODAY = NOON // DAY * DAY
TEAMS = ("team-a", "team-b", "team-c")
BYS = (("team", "month"), ("day", "run", "phase"), ("step", "machine_type", "pipeline"))


def client_of(meter: Meter, namespace: str, folder: Path) -> MeterClient:
    file = folder / f"token-{namespace}"
    file.write_text(token_of(namespace))
    found = MeterClient.from_environment(
        {"TALLY_METER_URL": meter.url, "TALLY_METER_TOKEN_FILE": str(file)}
    )
    assert found is not None
    return found


def crowd(start: int, stop: int) -> Iterator[Usage]:
    """Pods that ask for more than their node has: what each pays for depends on the others.

    Each is a step of its own: a bill rounds each line to 10⁻¹⁵ USD, a chargeback each interval."""
    for number, team in enumerate(TEAMS * 3):
        whose = {"team": team, "namespace": team, "run_id": f"run-{team}", "step": f"s{number}"}
        yield from life(
            f"pod-{number}-{start}", start + number * 7_000_001, stop - number * 3_333_333,
            worker=str(number), cpu_request_cores=0.7, memory_request_bytes=3 * 2**30,
            cpu_used_core_seconds=1e4 + number / 3, software_usd_per_hour=0.031, **whose,
        )  # fmt: skip
    system = {"run_id": "", "pipeline": "", "step": "", "team": "kube-system"}
    yield pod(
        f"system-{start}", "work", start, stop, namespace="kube-system", cpu_request_cores=0.1,
        software_usd_per_hour=0.031, **system,
    )  # fmt: skip


@pytest.fixture
def meter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Meter]:
    """Three namespaces on one node that is too small, today; one run of a machine of its own."""
    with served_meter(tmp_path, monkeypatch, readers=frozenset({"finance"})) as meter:
        meter.ledger.write_nodes([node(software_usd_per_hour=0.031)])
        ended = {"state": "succeeded", "ended_at_microseconds": NOON - HOUR}
        runs = [run(f"run-{team}", team=team, **ended) for team in TEAMS]
        meter.ledger.put_new_runs([*runs, run("run-l", engine="local", team="local", **ended)])
        meter.ledger.write_usage(crowd(NOON - 6 * HOUR, NOON - HOUR))
        own = {"run_id": "run-l", "team": "local", "namespace": "local", "source": "local"}
        meter.ledger.write_usage(
            [pod("host:1:b", "work", NOON - 3 * HOUR, NOON - HOUR, node_uid="laptop", **own)]
        )
        yield meter


def in_order(charges: Sequence[Charge]) -> list[Charge]:
    return sorted(charges, key=lambda one: one.usage.usage_id)


def require_same(told: Charged, kept: Charged) -> None:
    """The same charges and accounts, so the same chargeback and export, to the last digit."""
    assert in_order(told.charges) == in_order(kept.charges)
    assert told.accounts == kept.accounts
    for by in BYS:
        assert chargeback.chargeback(told.charges, told.accounts, by) == chargeback.chargeback(
            kept.charges, kept.accounts, by
        )
    assert list(focus_rows(told.charges, told.accounts)) == list(
        focus_rows(kept.charges, kept.accounts)
    )


@pytest.mark.exact
@pytest.mark.parametrize("namespace", [OWN, "finance"])
def test_all_is_the_runs_bills_and_what_nobody_held(
    meter: Meter, namespace: str, tmp_path: Path
) -> None:
    found = client_of(meter, namespace, tmp_path).charged(page_rows=4)
    assert len(found.charges) > 3 * 4 and found.whole
    require_same(found, charged.charged(meter.ledger))
    lines = chargeback.chargeback(found.charges, found.accounts, ("run",))
    bills = {bill.run_id: bill.hardware_usd + bill.software_usd for bill in meter.ledger.bills()}
    paid = {line.key[0]: line.sum.total_usd for line in lines if line.kind == "workload"}
    system = paid.pop("")
    assert paid == bills and min(bills.values()) > 0
    rest = [line.sum.total_usd for line in lines if line.kind != "workload"]
    whole = chargeback.total(chargeback.chargeback(found.charges, found.accounts, ("team",)))
    assert len(rest) == 2
    assert whole.total_usd == sum(bills.values()) + system + sum(rest)
    # the invoice: a node for so many hours, and two hours of a machine
    hours, price = Decimal(10), Decimal("0.1942")
    assert whole.total_usd == pytest.approx(hours * (price + Decimal("0.031")) + 2 * price)


@pytest.mark.exact
def test_who_sees_one_namespace_has_its_exact_charges_and_nothing_else(
    meter: Meter, tmp_path: Path
) -> None:
    everything = charged.charged(meter.ledger)
    own = [one for one in everything.charges if one.usage.namespace == "team-a"]
    found = client_of(meter, "team-a", tmp_path).charged(page_rows=2)
    assert not found.whole and found.accounts == []
    assert in_order(found.charges) == in_order(own)
    bill = meter.ledger.bill("run-team-a")
    whole = chargeback.total(chargeback.chargeback(found.charges, [], ("team",)))
    assert (whole.hardware_usd, whole.software_usd) == (bill.hardware_usd, bill.software_usd)
    rows = [row for row in meter.ledger.usage() if row.namespace == "team-a"]
    alone = share_nodes(merge(rows), meter.ledger.nodes()).charges  # without what was beside them
    assert sum(one.billed_microseconds for one in alone) > whole.billed_microseconds


def test_who_may_list_another_namespace_has_its_charges_too(meter: Meter, tmp_path: Path) -> None:
    meter.reviews.may = {("team-a", "list", "team-b"), ("team-a", "get", "team-c")}
    found = client_of(meter, "team-a", tmp_path).charged()
    assert {one.usage.namespace for one in found.charges} == {"team-a", "team-b"}
    meter.reviews.may = {("team-b", "list", "")}
    found = client_of(meter, "team-b", tmp_path).charged()
    assert {one.usage.namespace for one in found.charges} == {*TEAMS, "kube-system"}
    assert not found.whole and found.accounts == []
    assert client_of(meter, "local", tmp_path).charged() == Charged([], [], whole=False)


@pytest.mark.exact
def test_days_are_asked_for_and_pages_end_where_time_does(
    meter: Meter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for day in (-40, -3, -2):
        there = node(f"n{day}", NOON + day * DAY, end_microseconds=NOON + (day + 1) * DAY)
        meter.ledger.write_nodes([there])
        rows = crowd(NOON + day * DAY + SECOND, NOON + (day + 1) * DAY - SECOND)
        meter.ledger.write_usage([
            replace(row, node_uid=there.node_uid, software_usd_per_hour=0.0) for row in rows
        ])  # fmt: skip
    client, ledger = client_of(meter, OWN, tmp_path), meter.ledger
    for since, end in (
        (0, None), (TODAY - 3 * DAY, TODAY), (TODAY - 2 * DAY, TODAY - DAY), (TODAY, None),
        (0, TODAY - 30 * DAY),
    ):  # fmt: skip
        kept = charged.charged(ledger, since, end)
        assert kept.charges and kept.accounts
        require_same(client.charged(since, end, page_rows=11), kept)
    monkeypatch.setattr(charging, "_SECONDS", 0.0)
    require_same(client.charged(), charged.charged(ledger))
    for since, end in ((TODAY + DAY, None), (0, TODAY - 50 * DAY)):
        assert client.charged(since, end) == Charged([], [])


@pytest.mark.exact
def test_while_a_pod_lasts_pages_bring_what_is_over_once_and_unchanged(meter: Meter) -> None:
    other = node("node-1", NOON - 3 * HOUR)
    lasts = {"node_uid": other.node_uid, "namespace": "team-b", "team": "team-b"}
    meter.ledger.write_nodes([other])
    there, asked = [], "limit=7"
    for minute in range(1, 100):
        heard = NOON - 2 * HOUR + minute * 60 * SECOND
        open_row = pod("lasts", "work", NOON - 2 * HOUR, None, **lasts)
        meter.ledger.write_usage([replace(open_row, heartbeat_at_microseconds=heard)])
        _, answer = meter.ask("GET", f"/v1/charges?{asked}", token_of(OWN))
        there += map(charge_of, answer["page"]["charges"])
        if answer["page"]["next"] is None:
            break
        asked = urlencode({**answer["page"]["next"], "limit": 7})
    assert minute > 3
    over = [one for one in charged.charged(meter.ledger).charges if one.usage.pod_uid != "lasts"]
    assert in_order([one for one in there if one.usage.pod_uid != "lasts"]) == in_order(over)
    assert len([one for one in there if one.usage.pod_uid == "lasts"]) == 1


def test_of_an_empty_ledger_nothing_was_charged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served_meter(tmp_path, monkeypatch) as meter:
        assert client_of(meter, OWN, tmp_path).charged() == Charged([], [])
        assert client_of(meter, "team-a", tmp_path).charged() == Charged([], [], whole=False)


@pytest.mark.exact
def test_a_runs_charges_are_its_own(meter: Meter, tmp_path: Path) -> None:
    meter.reviews.may = {("team-a", "get", "team-c")}
    client = client_of(meter, "team-a", tmp_path)
    found = client.charged(run_id="run-team-a", page_rows=5)
    assert found.whole and not found.accounts
    assert {one.usage.run_key for one in found.charges} == {("team-a", "run-team-a")}
    whole = chargeback.total(chargeback.chargeback(found.charges, [], ("step", "phase")))
    bill = meter.ledger.bill("run-team-a")
    assert whole.total_usd == bill.hardware_usd + bill.software_usd
    with pytest.raises(SpecError, match="got another's"):
        client.charged(run_id="run-team-b")
    there = client.charged(run_id="run-team-c", namespace="team-c")
    assert {one.usage.namespace for one in there.charges} == {"team-c"}
    with pytest.raises(SpecError, match="expected the id of a run"):
        client.charged(run_id="run-x")
    local = client_of(meter, OWN, tmp_path).charged(run_id="run-l")
    assert {one.usage.source for one in local.charges} == {"local"}


def test_bad_questions_are_refused(meter: Meter) -> None:
    for bad in ("since=x", "until=-1", "limit=10001", "run=a%20b", "run=run-team-a&namespace=%20"):
        status, answer = meter.ask("GET", f"/v1/charges?{bad}")
        assert status in (400, 404) and "expected" in answer["error"]
    assert meter.ask("GET", "/v1/charges", None)[0] == 401
    _, answer = meter.ask("GET", "/v1/charges?limit=0&after=zzz&since=0")
    assert answer["page"]["charges"] == []


def test_a_namespace_has_one_page_at_a_time_and_all_have_theirs_in_turn(
    meter: Meter, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once, most, go = 0, 0, threading.Event()

    def slowly(*arguments: Any) -> Any:
        nonlocal at_once, most
        at_once, most = at_once + 1, max(most, at_once + 1)
        assert go.wait(20)
        at_once -= 1
        return charged.charged_on(*arguments)

    monkeypatch.setattr(charging, "charged_on", slowly)
    with ThreadPoolExecutor(3) as pool:

        def asked(team: str) -> "Future[tuple[int, Any]]":
            return pool.submit(meter.ask, "GET", "/v1/charges", token_of(team))

        first = asked("team-a")
        until(lambda: at_once)
        status, said = asked("team-a").result(20)
        assert status == 429 and "one page at a time" in said["error"]
        other = asked("team-b")
        time.sleep(0.3)
        go.set()
        assert first.result(20)[0] == other.result(20)[0] == 200
    assert most == 1
    assert meter.ask("GET", "/v1/charges", token_of("team-a"))[0] == 200
