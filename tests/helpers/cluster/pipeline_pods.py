"""A compiled pipeline as pods, task by task; where KFP has drivers, its inputs are found here."""

import json
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from helpers.cluster.executor_pod import Json, executor_pod
from helpers.cluster.metering import log_of_main, until_phase
from helpers.cluster.objects import apply
from helpers.cluster.training_pods import Store
from tally.kube.cluster import Cluster
from tally.runs.compiled import Compiled

_MOUNT = "/minio/"


@dataclass(frozen=True)
class Task:
    """A task that has a pod.

    Attributes:
        task, component: of the IR.
        scope: what the parameters mean in the DAG that it is in.
        node: the name of its Argo node, without the Workflow's.
    """

    task: Json
    component: Json
    scope: Json
    node: str

    @property
    def is_exit(self) -> bool:
        return "triggerPolicy" in self.task


@dataclass
class PipelineRun:
    """One run of a compiled pipeline in a namespace.

    Attributes:
        account: of the pods.
        outputs: of each task that is done, its parameters and artifacts.
        pods: of each task that was begun, its pod's uid.
    """

    made: Compiled
    cluster: Cluster
    namespace: str
    run_id: str
    store: Store
    account: str
    outputs: dict[str, Json] = field(default_factory=dict)
    pods: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._ir, platform = yaml.safe_load_all(self.made.ir)
        self._settings = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
        self.workflow = f"{self.made.name}-{secrets.token_hex(3)}"
        self._tasks: dict[str, Task] = {}
        self._gather(self._ir["root"]["dag"], through_kfp(self.made.arguments), "root(0)")

    def prepare(self) -> None:
        """What the pods mount."""
        make_launcher(self.cluster, self.namespace)

    def steps(self) -> list[str]:
        """Its tasks in an order in which KFP may run them."""
        found: list[str] = []
        while left := [name for name in self._tasks if name not in found]:
            found.append(next(name for name in left if self._needed(name) <= set(found)))
        return found

    def run(self, step: str, end: str = "Succeeded", seconds: float = 150) -> str:
        """Run one task to its end; what its container wrote.

        Raises:
            AssertionError: it ended otherwise, or not in time.
        """
        pod, outputs = self.pod_of(step)
        name = pod["metadata"]["name"]
        self.pods[step] = apply(self.cluster, pod, self.namespace)["metadata"]["uid"]
        ends = ("Succeeded", "Failed")
        try:
            there = until_phase(self.cluster, self.namespace, name, *ends, seconds=seconds)
        finally:
            log = log_of_main(self.cluster, self.namespace, name)
            print(f"--- {step}\n{log[-4000:]}")
        assert there["status"]["phase"] == end, there["status"]
        if end == "Succeeded":
            self.take(step, outputs)
        return log

    def pod_of(self, step: str) -> tuple[Json, Json]:
        """A task's pod, and where it leaves what it makes."""
        given, label = self._given(step), self._tasks[step].component["executorLabel"]
        pod = executor_pod(
            self._ir["deploymentSpec"]["executors"][label]["container"], self._settings[label],
            given, run_id=self.run_id, account=self.account, number=self.steps().index(step) + 1,
            node=f"{self.workflow}(0).{self._tasks[step].node}.executor(0)",
        )  # fmt: skip
        return pod, given["outputs"]

    def is_exit(self, step: str) -> bool:
        """Whether it is the exit handler's."""
        return self._tasks[step].is_exit

    def _gather(self, dag: Json, scope: Json, node: str) -> None:
        for name, task in dag["tasks"].items():
            component = self._ir["components"][task["componentRef"]["name"]]
            given = task.get("inputs", {}).get("parameters", {})
            if "dag" in component:
                inner = {n: scope[source["componentInputParameter"]] for n, source in given.items()}
                self._gather(component["dag"], inner, f"{node}.{name}(0)")
                continue
            before = f".{task['dependentTasks'][0]}.onExit" if "triggerPolicy" in task else ""
            self._tasks[name] = Task(task, component, scope, f"{node}{before}.{name}(0)")

    def _needed(self, step: str) -> set[str]:
        if self._tasks[step].is_exit:
            return set(self._tasks) - {step}
        return set(self._tasks[step].task.get("dependentTasks", []))

    def _given(self, step: str) -> Json:
        """The executor input, as KFP's driver makes it."""
        inputs, made = (
            self._tasks[step].task.get("inputs", {}),
            self._tasks[step].component.get("outputDefinitions", {}),
        )
        folder = f"v2/artifacts/{self.made.name}/{self.run_id}/{step}/{secrets.token_hex(8)}"
        place = f"{self.store.bucket}/{folder}"
        parameters, artifacts = inputs.get("parameters", {}), inputs.get("artifacts", {})
        return {
            "inputs": {
                "parameterValues": {n: self._value(step, s) for n, s in parameters.items()},
                "artifacts": {
                    name: {"artifacts": [self._output(source["taskOutputArtifact"], "Artifact")]}
                    for name, source in artifacts.items()
                },
            },
            "outputs": {
                "parameters": {
                    name: {"outputFile": f"/tmp/kfp/outputs/{name}"}
                    for name in made.get("parameters", {})
                },
                "artifacts": {
                    name: {
                        "artifacts": [
                            {
                                "name": name,
                                "type": kind["artifactType"],
                                "uri": f"minio://{place}/{name}",
                            }
                        ]
                    }
                    for name, kind in made.get("artifacts", {}).items()
                },
                "outputFile": f"{_MOUNT}{place}/output_metadata.json",
            },
        }

    def _value(self, step: str, source: Json) -> Any:
        if "runtimeValue" in source:
            return source["runtimeValue"]["constant"]
        if "taskOutputParameter" in source:
            return self._output(source["taskOutputParameter"], "Parameter")
        return self._tasks[step].scope[source["componentInputParameter"]]

    def _output(self, source: Json, kind: str) -> Any:
        return self.outputs[source["producerTask"]][source[f"output{kind}Key"]]

    def take(self, step: str, outputs: Json) -> None:
        """Read what a task that is done has made."""
        _, _, key = outputs["outputFile"].removeprefix(_MOUNT).partition("/")
        told = json.loads(self.store.read(key))
        found = dict(told.get("parameterValues", {}))
        for name, before in outputs["artifacts"].items():
            (artifact,) = told["artifacts"][name]["artifacts"]
            assert artifact["uri"] == before["artifacts"][0]["uri"], name  # or KFP's launcher fails
            found[name] = artifact
        self.outputs[step] = through_kfp(found)


def make_launcher(cluster: Cluster, namespace: str) -> None:
    """launch.py, for all steps' pods of a namespace."""
    text = (Path(__file__).parent / "launch.py").read_text()
    made = {"metadata": {"name": "launcher"}, "data": {"launch": text}}
    cluster.request("POST", f"api/v1/namespaces/{namespace}/configmaps", made)


def through_kfp(value: Any) -> Any:
    """A value after its way through KFP, where numbers are doubles that Go writes: 1.0 is 1."""
    if isinstance(value, dict):
        return {name: through_kfp(one) for name, one in value.items()}
    if isinstance(value, list):
        return [through_kfp(one) for one in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
