"""Orphans are found and removed; a gang whose run goes on is left alone."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from helpers.cluster.objects import IMAGE, apply, delete, every, until_true
from helpers.cluster.workflows import Workflows
from tally.kube.cluster import Cluster
from tally.kube.reap import reap

Make = Callable[..., Any]


def _conductor(run: str, script: str) -> dict[str, Any]:
    """A pod that stands for the conductor of a run."""
    restricted = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    return {
        "kind": "Pod",
        "metadata": {
            "name": "conductor",
            "labels": {"pipeline/runid": run, "tally.dev/conductor": "train"},
        },
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 0,
            "containers": [
                {
                    "name": "main",
                    "image": IMAGE,
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["python", "-S", "-c", script],
                    "securityContext": restricted,
                }
            ],
        },
    }


def test_a_gang_goes_when_its_conductor_has_gone_and_not_before(
    cluster: Cluster, namespace: str, spec: Make, template: Make, gang_of: Make
) -> None:
    made = spec()
    apply(cluster, _conductor(made.run_id, "import time; time.sleep(3600)"), namespace)
    gang, told = gang_of(made, template())
    gang.start(2)
    told.until_started("0", "1")
    assert reap(cluster, namespace) == []
    delete(cluster, "Pod", "conductor", namespace)
    until_true(lambda: not every(cluster, "Pod", namespace, "tally.dev/conductor"), 15)
    line = f"{namespace}/{made.name} of run {made.run_id}: it has no conductor"
    assert reap(cluster, namespace, dry_run=True) == [f"would remove {line}"]
    assert len(every(cluster, "Job", namespace)) == 1
    assert reap(cluster, namespace) == [f"removed {line}"]
    for kind in ("Job", "Pod", "Secret", "Service", "NetworkPolicy"):
        until_true(lambda k=kind: not every(cluster, k, namespace), 20)
    assert reap(cluster, namespace) == []


def test_the_command_finds_and_removes_an_orphan(
    cluster: Cluster, namespace: str, spec: Make, template: Make, gang_of: Make
) -> None:
    def said(*options: str) -> str:
        command = [Path(sys.executable).with_name("tally"), "reap", "--namespace", namespace]
        done = subprocess.run([*command, *options], capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.strip()

    assert said() == "nothing to remove"
    made = spec()
    gang, told = gang_of(made, template())
    gang.start(1)
    told.until_started("0")
    line = f"{namespace}/{made.name} of run {made.run_id}: it has no conductor"
    assert said("--dry-run") == f"would remove {line}"
    assert said() == f"removed {line}"
    for kind in ("Job", "Pod", "Secret", "Service", "NetworkPolicy"):
        until_true(lambda k=kind: not every(cluster, k, namespace), 20)
    assert said() == "nothing to remove"


def test_a_gang_goes_when_its_conductor_has_failed(
    cluster: Cluster, namespace: str, spec: Make, template: Make, gang_of: Make
) -> None:
    made = spec()
    apply(cluster, _conductor(made.run_id, "raise SystemExit(1)"), namespace)

    def phase() -> Any:
        (pod,) = every(cluster, "Pod", namespace, "tally.dev/conductor")
        return pod["status"]["phase"] == "Failed"

    until_true(phase, 20)
    gang, _ = gang_of(made, template())
    gang.start(1)
    assert reap(cluster, namespace) == [
        f"removed {namespace}/{made.name} of run {made.run_id}: its conductor has failed"
    ]


def test_with_workflows_the_run_is_over_when_its_workflow_is(
    cluster: Cluster,
    namespace: str,
    spec: Make,
    template: Make,
    gang_of: Make,
    workflows: Workflows,
) -> None:
    made = spec()
    workflows.make("w", made.run_id)
    gang, _ = gang_of(made, template())
    gang.start(1)
    assert reap(cluster, namespace) == []  # no conductor yet, or no more: KFP makes the next
    workflows.change("w", status={"phase": "Failed"})
    (line,) = reap(cluster, namespace)
    assert line.endswith("its Workflow is Failed")
