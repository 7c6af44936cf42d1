"""A whole compiled pipeline as pods: it trains with a gang, evaluates, and ends with the bill."""

import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from helpers.cluster.metering import MACHINES, MeterProcess
from helpers.cluster.objects import IMAGE, apply, every, until_true
from helpers.cluster.pipeline_pods import PipelineRun
from helpers.cluster.training_pods import EXAMPLES, Store, node_address
from tally.costing.ledger import open_ledger
from tally.kube.cluster import Cluster
from tally.runs.compiled import compile_for_cluster

Make = Callable[..., Any]

ACCOUNT = "pipeline-runner"
EPOCHS = 5
ASKED = {"epochs": str(EPOCHS), "augment": "1", "workers": "2", "machine_type": "metered"}
WORKERS = {"0", "1"}
SHAPE = """
    kubernetes:
      cpu_cores: 0.6
      memory_gib: 1.5
      node_selector: {tally.dev/machine-type: metered}
"""
PRICES = MACHINES.rstrip() + SHAPE
_LINE = re.compile(
    r"│ (?P<step>\w*) +│ (?P<phase>\w+) +│ +(?P<seconds>[\d.]+) │ +\$(?P<usd>[\d.]+) │"
)


@pytest.fixture
def kubeflow(cluster: Cluster, namespace: str, store: Store) -> None:
    """What a namespace of Kubeflow has: its account with the shipped Role, and the store's Secret;
    and, as the platform engineer put it there, the machine types."""
    apply(cluster, {"kind": "ServiceAccount", "metadata": {"name": ACCOUNT}}, namespace)
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "tally-gang"}
    subjects = [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": namespace}]
    bound = {"metadata": {"name": "kubeflow"}, "roleRef": role, "subjects": subjects}
    apply(cluster, {"kind": "RoleBinding", **bound}, namespace)
    keys = dict.fromkeys(("accesskey", "secretkey"), "tests")
    secret = {"kind": "Secret", "metadata": {"name": "objects"}, "stringData": keys}
    apply(cluster, secret, namespace)
    machines = {"metadata": {"name": "tally-machines"}, "data": {"own.yaml": PRICES}}
    cluster.request("POST", f"api/v1/namespaces/{namespace}/configmaps", machines)


def bill_lines(log: str) -> dict[tuple[str, str], tuple[float, float, float]]:
    """Of a printed bill, by step and phase: seconds, USD, and the least that is printed.

    How many digits it has depends on the total.
    """
    found, step = {}, ""
    for line in filter(None, map(_LINE.match, log.splitlines())):
        step = line["step"] or step
        least_usd = 10.0 ** -len(line["usd"].partition(".")[2])
        found[step, line["phase"]] = float(line["seconds"]), float(line["usd"]), least_usd
    return found


def steps_of(told: Iterable[tuple[str, str]]) -> set[str]:
    """All but bill itself: its pod has lived for no whole second yet, or for one."""
    return {step for step, _ in told} - {"bill"}


@pytest.fixture
def meter(meter_of: Make) -> MeterProcess:
    started: MeterProcess = meter_of(TALLY_METER_HOST="0.0.0.0")  # pods reach it at the node's
    started.start()
    return started


@pytest.fixture
def run(
    cluster: Cluster,
    namespace: str,
    kubeflow: None,
    meter: MeterProcess,
    spec: Make,
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> PipelineRun:
    """A run of the compiled cnn."""
    (tmp_path / "own.yaml").write_text(PRICES)
    monkeypatch.setenv("TALLY_MACHINES", str(tmp_path / "own.yaml"))
    made = compile_for_cluster(
        "cnn",
        ASKED,
        {
            "TALLY_IMAGE": IMAGE,
            "TALLY_STORE": "s3://tally",
            "TALLY_STORE_SECRET": "objects",
            "AWS_ENDPOINT_URL": store.endpoint,
            "TALLY_POD_METER_URL": f"http://{node_address()}:{meter.port}",
        },
    )
    begun = PipelineRun(made, cluster, namespace, spec().run_id, store, ACCOUNT)
    begun.prepare()
    return begun


@pytest.mark.smoke
def test_each_step_of_the_compiled_cnn_runs_as_kfps_pod_and_the_last_prints_the_meters_bill(
    cluster: Cluster, namespace: str, meter: MeterProcess, run: PipelineRun
) -> None:
    assert run.steps() == ["prepare", "plan", "train", "evaluate", "bill"]
    logs = {step: run.run(step) for step in run.steps()}

    assert run.outputs["train"]["metrics"]["metadata"]["examples_trained"] == EPOCHS * EXAMPLES
    assert '"workers": ["0", "1"]' in logs["train"]
    measured = run.outputs["evaluate"]["metrics"]["metadata"]
    assert measured["test_accuracy"] > 0.88
    matrix = run.outputs["evaluate"]["classes"]["metadata"]["confusionMatrix"]
    assert sum(sum(row["row"]) for row in matrix["rows"]) == 360
    until_true(lambda: not every(cluster, "Job", namespace), 15)
    until_true(lambda: not every(cluster, "Pod", namespace), 15)

    assert f"Bill of cnn, run {run.run_id}" in logs["bill"]
    told = bill_lines(logs["bill"])
    assert steps_of(told) == {"prepare", "plan", "train", "evaluate"}
    meter.until_closed(*run.pods.values())
    with open_ledger(meter.ledger_url) as ledger:
        rows = [row for row in ledger.usage([run.run_id]) if row.source == "pod"]
        worked = {row.worker for row in rows if (row.step, row.phase) == ("train", "work")}
        assert worked > WORKERS and {row.step for row in rows} == set(run.steps())
        bill = ledger.bill(run.run_id)
        assert bill.confirmed and not bill.unpriced
        for line in bill.lines:
            if line.step in ("prepare", "train"):  # long over when the bill was printed
                seconds, usd, least_usd = told[line.step, line.phase]
                assert seconds == pytest.approx(line.seconds, abs=0.11)
                # rounded so that the lines add up; charged as far as the node was heard of by then
                exact = float(line.hardware_usd)
                assert usd > 0 or exact < least_usd, line
                assert usd <= exact + 1.1 * least_usd, line
        record = ledger.run(run.run_id)
        assert record.metrics["test_accuracy"] == measured["test_accuracy"]
        begun = [e.step for e in ledger.events(run.run_id) if e.kind == "step_started"]
        assert begun == run.steps()  # each told the meter, with a token that its pod asked for
    meter.stop()


def test_a_run_that_fails_at_once_ends_with_its_bill_too(
    meter: MeterProcess, run: PipelineRun
) -> None:
    run.made.arguments["epochs"] = 0
    run = replace(run)  # resolves them anew
    log = run.run("prepare", end="Failed")
    sentence = "epochs must be a whole number, 1"
    assert sentence in log
    told = bill_lines(run.run("bill"))
    assert steps_of(told) == {"prepare"}
    with open_ledger(meter.ledger_url) as ledger:
        (failed,) = (e for e in ledger.events(run.run_id) if e.kind == "failed")
        assert failed.step == "prepare" and sentence in failed.facts["message"]
    meter.stop()
