"""A Kubeflow on the test cluster: its API as recorded; what is uploaded is run (kubeflow.py)."""

import secrets
from dataclasses import dataclass, field
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any

import yaml

from helpers.cluster.executor_pod import Json
from helpers.cluster.kubeflow import ACCOUNT, NAMESPACE, Argo
from helpers.cluster.pipeline_pods import PipelineRun
from helpers.cluster.training_pods import Store
from helpers.cluster.workflows import Workflows
from helpers.contract.recordings import answer_of
from helpers.contract.replay import Replay
from tally.kube.cluster import Cluster

_LETTERS = "bcdfghjklmnpqrstvwxz2456789"  # of generateName


@dataclass(frozen=True)
class Made:
    """What PipelineRun wants of a compiled pipeline."""

    name: str
    ir: str
    arguments: Json


@dataclass
class LiveKubeflow(Replay):
    """The server. What is uploaded is run.

    Attributes:
        tick_seconds, exit_task_after_termination: of Argo.
    """

    cluster: Cluster | None = None
    store: Store | None = None
    tick_seconds: float = 10.0
    exit_task_after_termination: bool = True
    begun: dict[str, Argo] = field(default_factory=dict)

    def _create(self, sent: Json) -> tuple[int, Any]:
        status, run = super()._create(sent)
        if status != 200:
            return status, run
        assert self.cluster and self.store
        version = sent["pipeline_version_reference"]["pipeline_version_id"]
        index = [one["pipeline_version_id"] for one in self.versions.values()].index(version)
        text = uploaded(self.uploads[index])
        ir, _ = yaml.safe_load_all(text)
        inputs = ir["root"].get("inputDefinitions", {}).get("parameters", {})
        usual = {name: one["defaultValue"] for name, one in inputs.items() if "defaultValue" in one}
        given = sent.get("runtime_config", {}).get("parameters", {})
        made = Made(ir["pipelineInfo"]["name"], text, {**usual, **given})
        pipeline = PipelineRun(
            made,
            self.cluster,
            NAMESPACE,
            run["run_id"],
            self.store,
            ACCOUNT,  # type: ignore[arg-type]
        )
        pipeline.workflow = f"{made.name}-{''.join(secrets.choice(_LETTERS) for _ in range(5))}"
        argo = Argo(
            pipeline, Workflows(self.cluster, NAMESPACE), self.tick_seconds,
            self.exit_task_after_termination,
        )  # fmt: skip
        argo.begin()
        self.begun[run["run_id"]] = argo
        run["created_at"] = argo.created_at
        return 200, run

    def _of_run(self, route: str, ids: list[str]) -> tuple[int, Any]:
        argo = self.begun.get(ids[0]) if ids else None
        if argo is None:
            return super()._of_run(route, ids)
        match route:
            case "GET runs/*":
                return 200, argo.answer(self.runs[ids[0]])
            case "POST runs/*:terminate":
                if argo.finished_at:
                    return 400, answer_of("58-error-terminate-finished-run")
                argo.terminate()
                return 200, {}
            case "GET v1alpha1 log":
                return 200, argo.log(ids[1])
            case "POST runs/*:retry":
                argo.retry()
                return 200, {}
        return super()._of_run(route, ids)


def uploaded(body: bytes) -> str:
    """The file of a multipart upload."""
    boundary = body.partition(b"\r\n")[0].removeprefix(b"--").decode()
    head = f'Content-Type: multipart/form-data; boundary="{boundary}"\r\n\r\n'.encode()
    (part,) = BytesParser(policy=HTTP).parsebytes(head + body).iter_parts()
    return bytes(part.get_payload(decode=True)).decode()
