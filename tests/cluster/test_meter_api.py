"""The meter's API with the tokens of a real API server, asked from here and from pods."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from helpers.cluster.conducting import conductor_pod
from helpers.cluster.metering import MeterProcess, log_of_main, make_pod, step_pod, until_phase
from helpers.cluster.objects import apply, path_of, until_true
from helpers.cluster.training_pods import node_address
from helpers.made_step import made_step
from tally import clock
from tally.costing.ledger import Ledger, open_ledger
from tally.kube.cluster import Cluster
from tally.kube.permissions import Right, denied
from tally.meterclient import MeterClient
from tally.meterhttp import MeterRefused
from tally.steps.outbox import Outbox
from tally.steps.pod_rows import PodRows

Make = Callable[..., Any]

_REVIEWS = "apis/authentication.k8s.io/v1/tokenreviews"


def token(cluster: Cluster, namespace: str, account: str, audience: str = "tally-meter") -> str:
    """As a pod of this account has it projected."""
    path = f"{path_of('ServiceAccount', namespace)}/{account}/token"
    body = {"spec": {"audiences": [audience], "expirationSeconds": 600}}
    return str(cluster.request("POST", path, body)["status"]["token"])


def client_of(meter: MeterProcess, folder: Path, text: str) -> MeterClient:
    (folder / "token").write_text(text)
    made = MeterClient.from_environment(
        {
            "TALLY_METER_URL": f"http://127.0.0.1:{meter.port}",
            "TALLY_METER_TOKEN_FILE": str(folder / "token"),
        }
    )
    assert made is not None
    return made


def status_of(ask: Callable[[], object]) -> int:
    try:
        ask()
    except MeterRefused as refused:
        return refused.status
    return 200


def account(cluster: Cluster, namespace: str, name: str) -> None:
    apply(cluster, {"kind": "ServiceAccount", "metadata": {"name": name}}, namespace)


def known_run(meter: MeterProcess, run_id: str) -> None:
    def known() -> bool:
        with open_ledger(meter.ledger_url) as ledger:
            return ledger.run(run_id) is not None and bool(_placed(ledger, run_id))

    until_true(known, 30)


def _placed(ledger: Ledger, run_id: str) -> list[object]:
    return [row for row in ledger.usage([run_id]) if row.node_uid]


def all_ended(meter: MeterProcess, pods: set[str]) -> bool:
    with open_ledger(meter.ledger_url) as ledger:
        rows = [row for row in ledger.usage_of_pods(pods) if row.source == "pod"]
    worked = {row.pod_uid for row in rows if row.phase == "work"}
    return worked == pods and all(row.end_microseconds is not None for row in rows)


def test_a_run_is_its_namespaces_and_only_good_tokens_of_the_audience_count(
    cluster: Cluster, namespace: str, meter_of: Make, spec: Make, tmp_path: Path
) -> None:
    meter = meter_of(TALLY_METER_METRICS_OPEN="0")
    meter.start()
    run_id = spec().run_id
    account(cluster, namespace, "runner")
    make_pod(
        cluster, namespace, step_pod("step", "time.sleep(3)", labels={"pipeline/runid": run_id})
    )
    known_run(meter, run_id)
    good = client_of(meter, tmp_path, token(cluster, namespace, "runner"))
    assert good.bill(run_id).run_id == run_id
    assert [run.id for run, _ in good.runs()] == [run_id]
    tokens = {
        (401, 401): token(cluster, namespace, "runner", "https://kubernetes.default.svc"),
        (403, 404): token(cluster, "kube-system", "default"),
    }
    for (read, written), text in tokens.items():
        client = client_of(meter, tmp_path, text)
        assert status_of(lambda c=client: c.bill(run_id)) == read
        assert status_of(lambda c=client: c.post_events(run_id, [])) == written
    everything = client_of(meter, tmp_path, token(cluster, "default", "default"))
    assert run_id in [run.id for run, _ in everything.runs()]  # the meter's own namespace
    assert status_of(lambda: everything.post_events(run_id, [])) == 404
    answered = everything.http.pool.request(
        "GET", f"{everything.http.url}/metrics", retries=False, timeout=10
    )
    assert answered.status == 401
    meter.stop()


def test_a_token_whose_account_is_gone_is_good_no_more(
    cluster: Cluster, namespace: str, meter_of: Make, tmp_path: Path
) -> None:
    meter = meter_of()
    meter.start()
    account(cluster, namespace, "leaver")
    text = token(cluster, namespace, "leaver")
    assert client_of(meter, tmp_path, text).runs() == []
    other = token(cluster, namespace, "leaver")  # one that the meter has not seen
    cluster.request("DELETE", f"{path_of('ServiceAccount', namespace)}/leaver")

    def refused() -> bool:
        body = {"spec": {"token": other, "audiences": ["tally-meter"]}}
        return not cluster.request("POST", _REVIEWS, body)["status"].get("authenticated")

    until_true(refused, 60)
    assert status_of(client_of(meter, tmp_path, other).runs) == 401
    until_true(lambda: status_of(client_of(meter, tmp_path, text).runs) == 401, 30)
    meter.stop()


STEP = """
import json, os
from tally.steps.step import step
from tally.steps.bill import run
with step("train", cores=0) as here:
    here.event("resize", workers=3, before=2, machine_type="")
    here.measured({"test_accuracy": 0.97}, examples_trained=1437)
print("BILL", json.dumps(run("/tmp/page.html")), len(open("/tmp/page.html").read()), flush=True)
"""


def telling_pod(meter: MeterProcess, run_id: str, *, projected: bool) -> dict[str, Any]:
    """A pod whose steps are told of the meter; KFP's have no projected token."""
    environment = {"TALLY_PIPELINE": "cnn"}
    environment["TALLY_METER_URL"] = f"http://{node_address()}:{meter.port}"
    if projected:
        environment["TALLY_METER_TOKEN_FILE"] = "/var/run/secrets/tally/token"
    pod = conductor_pod("conductor", run_id, ["python", "-c", STEP], environment)
    (main,) = pod["spec"]["containers"]
    main["volumeMounts"] = [m for m in main["volumeMounts"] if m["name"] != "store"]
    pod["spec"]["volumes"] = [v for v in pod["spec"]["volumes"] if v["name"] != "store"]
    if projected:
        mount = {"name": "meter", "mountPath": "/var/run/secrets/tally", "readOnly": True}
        source = {"serviceAccountToken": {"audience": "tally-meter", "path": "token"}}
        main["volumeMounts"].append(mount)
        pod["spec"]["volumes"].append({"name": "meter", "projected": {"sources": [source]}})
    return pod


def ended(cluster: Cluster, namespace: str, pod: dict[str, Any]) -> str:
    """Its log once it has ended."""
    apply(cluster, pod, namespace)
    until_phase(cluster, namespace, "conductor", "Succeeded", "Failed")
    return log_of_main(cluster, namespace, "conductor")


@pytest.mark.parametrize("projected", [True, False], ids=["projected token", "requested token"])
def test_steps_in_a_pod_tell_the_meter_and_show_its_bill(
    cluster: Cluster, namespace: str, meter_of: Make, spec: Make, projected: bool
) -> None:
    meter = meter_of(TALLY_METER_HOST="0.0.0.0")  # pods reach it at the node's address
    meter.start()
    run_id = spec().run_id
    log = ended(cluster, namespace, telling_pod(meter, run_id, projected=projected))
    lines = [line.removeprefix("BILL ") for line in log.splitlines() if line.startswith("BILL")]
    assert lines, log
    totals, length = json.JSONDecoder().raw_decode(lines[0])[0], lines[0].split()[-1]
    assert totals["total_usd"] > 0, log  # hardware is charged as far as the node was heard of
    assert int(length) > 1000
    with open_ledger(meter.ledger_url) as ledger:
        kinds = [event.kind for event in ledger.events(run_id) if event.step == "train"]
        assert kinds == ["step_started", "resize", "measured", "step_ended"]
        record = ledger.run(run_id)
        assert (record.team, record.engine, record.examples_trained) == (namespace, "cluster", 1437)
        assert record.metrics == {"test_accuracy": 0.97}
        until_true(lambda: ledger.bill(run_id).hardware_usd > 0, 60)
    meter.stop()


def test_a_pod_whose_account_may_not_ask_for_a_token_does_its_work_and_says_what_to_do(
    cluster: Cluster, namespace: str, meter_of: Make, spec: Make
) -> None:
    meter = meter_of(TALLY_METER_HOST="0.0.0.0")
    meter.start()
    role = f"{path_of('Role', namespace)}/tally-gang"
    *others, last = cluster.request("GET", role)["rules"]
    assert last["resources"] == ["serviceaccounts/token"]
    right = Right("", "serviceaccounts/token", "create", own=True)
    assert not denied(cluster, namespace, "tally-conductor", [right])
    assert denied(cluster, namespace, "another", [right])
    cluster.request("PATCH", role, {"rules": others})
    until_true(lambda: denied(cluster, namespace, "tally-conductor", [right]), 10)
    log = ended(cluster, namespace, telling_pod(meter, spec().run_id, projected=False))
    assert f"expected a token for the account {namespace}/tally-conductor, got Forbidden" in log
    assert "give the account the Role of manifests/gang-rbac.yaml" in log
    assert "BILL {}" in log and '"unbilled"' in log  # it went on to its end
    meter.stop()


def test_a_gangs_starts_over_are_restart_on_the_meters_bill(
    cluster: Cluster,
    namespace: str,
    spec: Make,
    template: Make,
    gang_of: Make,
    meter_of: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    meter = meter_of()
    meter.start()
    account(cluster, namespace, "runner")
    (tmp_path / "token").write_text(token(cluster, namespace, "runner"))
    made = spec(metered=True)
    monkeypatch.setenv("TALLY_METER_URL", f"http://127.0.0.1:{meter.port}")
    monkeypatch.setenv("TALLY_METER_TOKEN_FILE", str(tmp_path / "token"))
    outbox = Outbox(made.run_id, pace_seconds=0.5)
    here = made_step(tmp_path, outbox=outbox, run_id=made.run_id, pipeline="cnn", submit_pid=0)
    rows = PodRows(here, outbox)
    gang, told = gang_of(made, template())
    gang.start(2)
    uids = told.until_started("0", "1")
    for change in list(told.changes):
        rows.change(change, replacement=False)
    rows.work(["0", "1"], 1)
    gang.end("1", uids["1"])
    ended = told.until(lambda c: c.uid == uids["1"] and c.state == "ended", 30)
    rows.change(ended, replacement=True)
    gang.resize(2)
    again = told.until(
        lambda c: c.worker == "1" and c.state == "started" and c.uid != uids["1"], 60
    )
    rows.change(again, replacement=True)
    begun = clock.now_microseconds()
    until_true(lambda: clock.now_microseconds() > begun + 3_000_000, 10)  # it starts that long
    rows.work(["0", "1"], 2)
    gang.stop(10)
    rows.end()
    assert outbox.close(20) == ""
    pods = {*uids.values(), again.uid}
    until_true(lambda: all_ended(meter, pods), 30)
    with open_ledger(meter.ledger_url) as ledger:
        found = [row for row in ledger.usage([made.run_id]) if row.source == "conductor"]
        assert {row.pod_uid for row in found} == pods
        assert {(row.namespace, row.machine_type) for row in found} == {(namespace, "metered")}
        bill = ledger.bill(made.run_id)
        seconds = {line.phase: line.seconds for line in bill.lines if line.step == "train"}
        assert 2 < seconds["restart"] < 6
        assert bill.confirmed
        before = sum(
            row.stop_microseconds - row.start_microseconds
            for row in ledger.usage([made.run_id])
            if row.source == "pod" and row.phase == "work"
        )
        assert seconds["work"] + seconds["restart"] == pytest.approx(before / 1e6)
    meter.stop()
