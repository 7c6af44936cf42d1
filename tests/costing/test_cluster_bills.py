"""Bills of a cluster's runs from a real ledger: alone, among all, and beside what nobody pays."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings

from helpers.costing import cluster_rows
from helpers.costing.clusters import SECOND, a_node, a_pod, any_clusters
from helpers.costing.histories import HOUR, record, row
from tally.costing.cluster_tables import nodes as nodes_table
from tally.costing.database import writing
from tally.costing.ledger import Ledger, open_ledger
from tally.costing.node_shares import NodeAccount, share_nodes
from tally.costing.nodes import Node
from tally.costing.quotes import Quote, RunEvent
from tally.costing.tables import usage as usage_table
from tally.costing.usage import Usage
from tally.errors import SpecError

pytestmark = pytest.mark.exact

Cluster = tuple[list[Node], list[Usage]]


def by_node(accounts: Iterable[NodeAccount]) -> list[tuple[str, int, int, int, int]]:
    return sorted(
        (
            one.node.node_uid,
            one.life_microseconds,
            one.workload_microseconds,
            one.overhead_microseconds,
            one.idle_microseconds,
        )
        for one in accounts
    )


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    with open_ledger() as opened:
        yield opened


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(cluster=any_clusters(pods=5))
def test_a_ledger_bills_runs_alone_as_among_all_and_accounts_for_the_rest(
    ledger: Ledger, cluster: Cluster
) -> None:
    nodes, rows = cluster
    with writing(ledger.engine) as connection:
        connection.execute(usage_table.delete())
        connection.execute(nodes_table.delete())
    ledger.write_nodes(nodes)
    ledger.write_usage(rows)
    for run in ("a", "b"):
        ledger.put_run(record(run, engine="cluster"))
    together = {bill.run_id: bill for bill in ledger.bills()}
    assert together == {run: ledger.bill(run) for run in ("a", "b")}
    period = ledger.period(-SECOND, 10_000 * SECOND)
    assert by_node(period.accounts) == by_node(share_nodes(rows, nodes).accounts)
    workload = sum((one.workload_usd for one in period.accounts), Decimal(0))
    runs = sum((bill.hardware_usd for bill in together.values()), Decimal(0))
    others = sum((c.hardware_usd for c in period.charges if not c.usage.run_id), Decimal(0))
    assert abs(runs + others - workload) <= Decimal(len(rows) + 3).scaleb(-14)


def test_a_pod_that_began_after_its_node_was_last_heard_of_does_not_pay_for_a_whole_machine(
    ledger: Ledger,
) -> None:
    ledger.write_nodes([a_node(0, None, heartbeat_at_microseconds=100 * SECOND)])
    ledger.write_usage([a_pod(130, None, heartbeat_at_microseconds=150 * SECOND)])
    ledger.put_run(record("run", engine="cluster"))
    share = Decimal(20) / 3600 / 8  # an eighth of 1 USD an hour for 20 s
    assert ledger.bill("run").hardware_usd <= share
    assert sum(bill.hardware_usd for bill in ledger.bills()) <= share
    period = ledger.period(120 * SECOND, 200 * SECOND)
    assert sum(one.hardware_usd for one in period.charges) <= share


def test_a_pod_in_its_nodes_second_life_pays_for_that_one(ledger: Ledger) -> None:
    ledger.put_run(record("run", engine="cluster"))
    ledger.write_nodes([a_node(0, 1000), a_node(1000, 3600)])
    ledger.write_usage([a_pod(1200, 1560)])
    assert ledger.bill("run").hardware_usd == Decimal("0.0125")
    assert [bill.hardware_usd for bill in ledger.bills()] == [Decimal("0.0125")]


def test_pods_of_a_node_that_was_never_written_are_billed_by_cores(ledger: Ledger) -> None:
    ledger.put_run(record("run", engine="cluster"))
    ledger.write_usage([a_pod(0, 360, "a"), a_pod(0, 360, "b", run_id="", cpu_request_cores=3.0)])
    assert ledger.bill("run").hardware_usd == Decimal("0.025")


def test_a_pod_of_another_namespace_that_wears_a_runs_label_is_no_part_of_its_bill() -> None:
    with open_ledger() as ledger:
        ledger.put_run(record("run-1", engine="cluster", team="team-a"))
        ledger.write_nodes([cluster_rows.node(0, HOUR)])
        own = cluster_rows.pod(0, HOUR, run_id="run-1", pod_uid="own")
        ledger.write_usage([own])
        before = ledger.bill("run-1")
        stranger = {"team": "team-b", "namespace": "team-b", "pod_uid": "theirs"}
        ledger.write_usage([cluster_rows.pod(0, HOUR, run_id="run-1", **stranger)])
        assert ledger.bill("run-1") == before
        paid = {charge.usage.team for charge in ledger.charges(0, HOUR)}
    assert paid == {"team-a", "team-b"}


def test_an_id_in_two_namespaces_is_two_runs_and_names_none_of_them_alone(ledger: Ledger) -> None:
    ledger.write_nodes([cluster_rows.node(0, HOUR)])
    for team, accuracy, usd in (("team-a", 0.9, 1.0), ("team-b", 0.1, 2.0)):
        whose = {"team": team, "namespace": team, "pod_uid": team, "pipeline": f"of-{team}"}
        ledger.write_usage([cluster_rows.pod(0, int(usd * HOUR) // 2, run_id="run-01", **whose)])
        measured = {"test_accuracy": accuracy}
        one = record("run-01", engine="cluster", team=team, metrics=measured)
        ledger.put_run(replace(one, pipeline=f"of-{team}"))
        ledger.put_quote(
            Quote(
                run_id="run-01",
                namespace=team,
                made_at_microseconds=1,
                low_usd=0,
                expected_usd=usd,
                high_usd=9,
            )
        )
        event = RunEvent(run_id="run-01", namespace=team, at_microseconds=1, kind="note")
        ledger.write_events([event, event])
    changed = ledger.update_run("run-01", "team-b", attempt=4)
    assert (changed.team, changed.attempt) == ("team-b", 4)
    assert [ledger.run("run-01", team).attempt for team in ("team-a", "team-b")] == [1, 4]
    assert ledger.run("run-01", "team-c") is None
    assert ledger.run_namespaces("run-01") == {"team-a", "team-b"}
    bills = [ledger.bill("run-01", team) for team in ("team-a", "team-b")]
    assert [bill.pipeline for bill in bills] == ["of-team-a", "of-team-b"]
    assert [bill.result for bill in bills] == [0.9, 0.1]
    assert 0 < 2 * bills[0].hardware_usd == bills[1].hardware_usd
    assert sorted(ledger.bills(), key=lambda bill: bill.pipeline) == bills
    assert [ledger.quote("run-01", team).expected_usd for team in ("team-a", "team-b")] == [1, 2]
    assert [len(ledger.events("run-01", team)) for team in ("team-a", "team-b")] == [1, 1]
    for ask in (
        ledger.run, ledger.bill, ledger.quote, ledger.events, ledger.update_run, ledger.find_run,
    ):  # fmt: skip
        with pytest.raises(SpecError, match="got one of each of the namespaces team-a, team-b;"):
            ask("run-01")
    assert ledger.find_run("run-01", "team-b") == changed


def test_a_run_that_is_one_pod_has_its_own_processes_on_the_pods_own_ledger(ledger: Ledger) -> None:
    """And in a ledger of both, a machine's own run nothing of a cluster's of the same id."""
    ledger.put_run(record("run-01", engine="cluster", team=""))
    ledger.write_usage([row(0, HOUR, run_id="run-01")])
    bill = ledger.bill("run-01")
    assert bill.hardware_usd == ledger.bill("run-01", "").hardware_usd > 0
    ledger.put_run(record("run-01", engine="cluster", team="team-a"))
    ledger.write_usage([cluster_rows.pod(0, HOUR, run_id="run-01")])
    assert ledger.bill("run-01", "") == bill
    assert [len(ledger.bill("run-01", name).lines) for name in ("", "team-a")] == [1, 1]
    assert len(ledger.bills(["run-01", "nobodys"])) == 2
