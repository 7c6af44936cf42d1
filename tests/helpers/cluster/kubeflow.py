"""Runs as an Argo makes them for Kubeflow on the test cluster; live_kubeflow.py has the API.

What is real: pods, kubelet, Workflow objects, the object store. What is imitated, as it was seen of
Kubeflow Pipelines 2.17 with Argo 4.0.5: the order of pods, that each begins at a tick of the
controller, drivers as pods that do nothing for a while, what a termination and a retry do, and what
the API says of all that.
"""

import threading
import time
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime

from helpers.cluster.executor_pod import Json
from helpers.cluster.metering import log_of_main
from helpers.cluster.objects import IMAGE, apply, delete, path_of
from helpers.cluster.pipeline_pods import PipelineRun
from helpers.cluster.workflows import Workflows
from helpers.contract.recordings import answer_of, identity_of
from tally.kube.cluster import Refused

NAMESPACE = "kubeflow"
ACCOUNT = "pipeline-runner"
DRIVER_SECONDS = 2.5
_LOOK_SECONDS = 0.3
_LONGEST_SECONDS = 600.0  # of a pod
_ENDS = ("Succeeded", "Failed")
_DRIVER = {
    "requests": {"cpu": "100m", "memory": "64Mi"},
    "limits": {"cpu": "500m", "memory": "512Mi"},
}


@dataclass
class Row:
    """One of Argo's nodes, as the API's task_details and the Workflow's status tell of it."""

    name: str
    node: str
    start: str
    state: str = "RUNNING"
    end: str = ""
    message: str = ""

    def details(self, run_id: str, suffix: str = "") -> Json:
        told = {
            "run_id": run_id, "task_id": str(uuid.uuid5(uuid.NAMESPACE_URL, self.node + suffix)),
            "display_name": self.name + suffix, "create_time": self.start,
            "start_time": self.start, "state": self.state,
            "child_tasks": [{"pod_name": self.node}],
        }  # fmt: skip
        return told | ({"end_time": self.end} if self.end else {})


@dataclass
class Argo:
    """One run: a Workflow, its pods one after the other, and what the API says of them.

    Attributes:
        tick_seconds: how often the controller looks (DEFAULT_REQUEUE_TIME).
        exit_task_after_termination: whether its driver is not cut off, as with 10 s.
    """

    pipeline: PipelineRun
    workflows: Workflows
    tick_seconds: float
    exit_task_after_termination: bool
    state: str = "PENDING"
    history: list[Json] = field(default_factory=list)
    rows: dict[str, Row] = field(default_factory=dict)
    created_at: str = ""
    finished_at: str = ""
    _told_to_end: threading.Event = field(default_factory=threading.Event)

    def begin(self) -> None:
        """Make the Workflow; the rest is done beside."""
        self.owner = self.workflows.make(self.pipeline.workflow, self.pipeline.run_id)
        self._began, self.created_at = time.monotonic(), now()
        self._says("PENDING")
        self._go(list(self.pipeline.steps()))

    def terminate(self) -> None:
        """As `:terminate`: a time limit of 0 for the Workflow."""
        self._says("CANCELING")
        self.workflows.change(self.pipeline.workflow, spec={"activeDeadlineSeconds": 0})
        self._told_to_end.set()

    def retry(self) -> None:
        """As `:retry`: what failed is done again under the same names, the exit task is not."""
        self._thread.join(_LONGEST_SECONDS)
        self._told_to_end.clear()
        done = {name for name, row in self.rows.items() if row.state == "SUCCEEDED"}
        steps = self.pipeline.steps()
        left = [one for one in steps if one not in done and not self.pipeline.is_exit(one)]
        for name in left:
            for row in (name, f"{name}-driver"):
                if found := self.rows.pop(row, None):
                    delete(self.pipeline.cluster, "Pod", self._pod_name(found), NAMESPACE)
        change = {"spec": {"activeDeadlineSeconds": None}, "status": {"phase": "Running"}}
        self.workflows.change(self.pipeline.workflow, **change)
        self.finished_at = ""
        self._go(left)

    def answer(self, run: Json) -> Json:
        """What GET runs/{id} says now."""
        details = [row.details(self.pipeline.run_id) for row in list(self.rows.values())]
        details += [row.details(self.pipeline.run_id, "(0)") for row in list(self.rows.values())]
        details += [
            Row("executor", row.node, row.start, row.state, row.end).details(self.pipeline.run_id)
            for name, row in list(self.rows.items())
            if not name.endswith("-driver")
        ]
        kept = {"experiment_id", "storage_state", "service_account"}
        usual = {
            name: value for name, value in answer_of("14-get-run-succeeded").items() if name in kept
        }
        return {
            **usual, **identity_of(run), "created_at": self.created_at, "state": self.state,
            "scheduled_at": self.created_at, "state_history": list(self.history),
            "finished_at": self.finished_at or "1970-01-01T00:00:00Z",
            "run_details": {"task_details": details},
        }  # fmt: skip

    def log(self, node: str) -> str:
        """What the container of a node's pod has written."""
        (row,) = (row for row in self.rows.values() if row.node == node)
        return log_of_main(self.pipeline.cluster, NAMESPACE, self._pod_name(row))

    def _go(self, steps: list[str]) -> None:
        self._thread = threading.Thread(target=self._run, args=(steps,), daemon=True, name="argo")
        self._thread.start()

    def _run(self, steps: list[str]) -> None:
        self._says("RUNNING")
        fine = all(
            name in self.rows or self._driver(name)
            for name in ("root-driver", "exit-handler-1-driver")
        )
        for step in steps:
            if self.pipeline.is_exit(step):
                if fine or not self._told_to_end.is_set() or self.exit_task_after_termination:
                    self._task(step, cut_off=False)
            elif fine:
                fine = self._task(step)
        self._tick()
        self.finished_at = now()
        phase = "Succeeded" if fine else "Failed"
        status = {"phase": phase, "finishedAt": self.finished_at, "nodes": self._nodes()}
        self.workflows.change(self.pipeline.workflow, status=status)
        self._says(phase.upper())

    def _task(self, step: str, *, cut_off: bool = True) -> bool:
        """Its driver and its own pod; whether both went well."""
        if not self._driver(f"{step}-driver", cut_off=cut_off):
            return False
        body, outputs = self.pipeline.pod_of(step)
        fine = self._pod(step, body, cut_off=cut_off)
        if fine:
            self.pipeline.take(step, outputs)
        return fine

    def _driver(self, name: str, *, cut_off: bool = True) -> bool:
        container = {
            "name": "main", "image": IMAGE, "imagePullPolicy": "IfNotPresent",
            "command": ["python", "-S", "-c", f"import time; time.sleep({DRIVER_SECONDS})"],
            "resources": _DRIVER, "securityContext": {
                "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]},
                "runAsNonRoot": True, "runAsUser": 65532,
                "seccompProfile": {"type": "RuntimeDefault"}},
        }  # fmt: skip
        spec = {"restartPolicy": "Never", "serviceAccountName": ACCOUNT, "containers": [container]}
        role = {"pipelines.kubeflow.org/runtime-role": "driver"}
        body = {"kind": "Pod", "metadata": {"annotations": role, "labels": {}}, "spec": spec}
        return self._pod(name, body, cut_off=cut_off)

    def _pod(self, name: str, body: Json, *, cut_off: bool) -> bool:
        """From one tick on to the pod's end; whether it went well."""
        self._tick()
        if cut_off and self._told_to_end.is_set():
            return False
        workflow = self.pipeline.workflow
        number = 1000 + sum(map(ord, name))
        row = Row(name, f"{workflow}-{number}", now())
        self.rows[name] = row
        meta = body["metadata"]
        node = meta["annotations"].get(
            "workflows.argoproj.io/node-name", f"{workflow}(0).{name}(0)"
        )
        meta |= {
            "name": self._pod_name(row), "ownerReferences": [{**self.owner, "controller": True}],
            "labels": meta["labels"] | {
                "pipeline/runid": self.pipeline.run_id, "workflows.argoproj.io/workflow": workflow,
                "pipelines.kubeflow.org/v2_component": "true"},
            "annotations": meta["annotations"] | {
                "workflows.argoproj.io/node-id": row.node, "workflows.argoproj.io/node-name": node},
        }  # fmt: skip
        uid = apply(self.pipeline.cluster, body, NAMESPACE)["metadata"]["uid"]
        self.workflows.change(workflow, status={"phase": "Running", "nodes": self._nodes()})
        row.message = self._until_over(meta["name"], uid, cut_off=cut_off)
        self._tick()
        row.end, row.state = now(), "FAILED" if row.message else "SUCCEEDED"
        return not row.message

    def _until_over(self, pod: str, uid: str, *, cut_off: bool) -> str:
        """Wait for a pod's end; what Argo says of one that went wrong, "" of others."""
        path, cluster = f"{path_of('Pod', NAMESPACE)}/{pod}", self.pipeline.cluster
        deadline = time.monotonic() + _LONGEST_SECONDS
        while time.monotonic() < deadline:
            try:
                found = cluster.request("GET", path)
            except Refused as error:
                assert error.status == 404, error
                return "pod deleted"
            if found["metadata"]["uid"] != uid:
                return "pod deleted"
            if found["status"].get("phase") in _ENDS:
                return _message(found)
            if cut_off and self._told_to_end.is_set():
                cluster.request("PATCH", path, {"spec": {"activeDeadlineSeconds": 1}})
                cut_off = False  # SIGTERM to its containers, as Argo sends them, and it stays
            time.sleep(_LOOK_SECONDS)
        raise AssertionError(f"{pod} has not ended")

    def _pod_name(self, row: Row) -> str:
        kind = "driver" if row.name.endswith("-driver") else "impl"
        return f"{self.pipeline.workflow}-system-container-{kind}-{row.node.rpartition('-')[2]}"

    def _nodes(self) -> Json:
        phases = {"RUNNING": "Running", "SUCCEEDED": "Succeeded", "FAILED": "Failed"}
        return {
            row.node: {
                "id": row.node, "displayName": row.name, "name": row.name, "type": "Pod",
                "phase": phases[row.state], "startedAt": row.start, "message": row.message,
            }
            for row in list(self.rows.values())
        }  # fmt: skip

    def _tick(self) -> None:
        """Wait for the controller to look again."""
        past = (time.monotonic() - self._began) % self.tick_seconds
        left = self.tick_seconds - past
        if past > 0.5:  # what was done in this look goes on
            time.sleep(left)

    def _says(self, state: str) -> None:
        self.state = state
        self.history.append({"update_time": now(), "state": state})


def _message(pod: Json) -> str:
    """What Argo says of a pod that has failed, "" of one that has not."""
    if pod["status"]["phase"] == "Succeeded":
        return ""
    told = [one["state"].get("terminated") for one in pod["status"].get("containerStatuses", [])]
    codes = [one["exitCode"] for one in told if one and one["exitCode"]]
    return f"Error (exit code {codes[0]})" if codes else pod["status"].get("message", "pod failed")


def now() -> str:
    """As Kubernetes and Kubeflow write a moment."""
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
