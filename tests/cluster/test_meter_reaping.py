"""The meter removes the gangs of ended runs and closes their bills; others it leaves alone."""

import time
from collections.abc import Callable
from typing import Any

from helpers.cluster.objects import every, until_true
from helpers.cluster.workflows import Workflows
from tally.costing.ledger import open_ledger
from tally.costing.runs import RunRecord
from tally.kube.cluster import Cluster

Make = Callable[..., Any]


def test_the_gang_of_a_terminated_run_is_gone_within_a_minute_and_its_bill_closed(
    cluster: Cluster,
    namespace: str,
    spec: Make,
    template: Make,
    gang_of: Make,
    meter_of: Make,
    workflows: Workflows,
) -> None:
    meter = meter_of(TALLY_METER_REAPS=namespace)
    meter.start()
    ended, lasting, alone = spec(metered=True), spec(metered=True), spec(metered=True)
    owned = {
        made.run_id: workflows.make(f"w-{made.run_id}", made.run_id) for made in (ended, lasting)
    }
    uids: dict[str, set[str]] = {}
    for made in (ended, lasting, alone):
        made = type(made)(**{**made.__dict__, "owner": owned.get(made.run_id)})
        gang, told = gang_of(made, template())
        gang.start(1)
        uids[made.run_id] = set(told.until_started("0").values())
    until_true(lambda: all(meter.rows(uid) for found in uids.values() for uid in found), 30)

    def left(kind: str, run_id: str) -> list[Any]:
        return every(cluster, kind, namespace, f"tally.dev/run={run_id}")

    def closed(run_id: str) -> RunRecord | None:
        with open_ledger(meter.ledger_url) as ledger:
            record = ledger.run(run_id)
        return record if record and record.ended_at_microseconds else None

    name = f"w-{ended.run_id}"
    assert left("Job", ended.run_id) and closed(ended.run_id) is None
    # as Kubeflow terminates, and as Argo does: then the pods end, then the phase is Failed
    workflows.change(name, spec={"shutdown": "Terminate", "activeDeadlineSeconds": 0})
    workflows.change(name, status={"phase": "Failed"})
    began = time.monotonic()
    until_true(lambda: not left("Job", ended.run_id) and not left("Pod", ended.run_id), 60)
    gone_seconds = time.monotonic() - began
    record = until_true(lambda: closed(ended.run_id), 60 - gone_seconds)
    print(f"gone after {gone_seconds:.1f} s, closed after {time.monotonic() - began:.1f} s")
    assert record.state == "cancelled"
    (uid,) = uids[ended.run_id]
    last = max(row.stop_microseconds for row in meter.rows(uid))
    assert abs(record.ended_at_microseconds - last) < 2e6  # pods tell their ends to the second
    with open_ledger(meter.ledger_url) as ledger:
        assert ledger.bill(ended.run_id).hardware_usd > 0
    for kind in ("Secret", "Service", "NetworkPolicy"):
        until_true(lambda k=kind: not left(k, ended.run_id), 20)
    # a gang that no Workflow and no conductor has goes after its time; one that has stays
    until_true(lambda: not left("Job", alone.run_id) and closed(alone.run_id), 60)
    assert left("Job", lasting.run_id) and len(left("Pod", lasting.run_id)) == 1
    assert closed(lasting.run_id) is None
    assert meter.health()["notices"] == [] and meter.health()["code"] == 200
    meter.stop()
