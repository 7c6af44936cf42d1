"""Trainings as pods of the image: a conductor like KFP's, its gang, and a store that stays."""

import base64
import json
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import boto3
from kubernetes import client, config
from kubernetes.stream import stream
from safetensors.numpy import load

from helpers.cluster.conducting import conductor_pod, phase_of
from helpers.cluster.objects import apply, every, log_of, path_of
from tally.kube.cluster import Cluster, Refused

BUCKET = "tally"
EXAMPLES = 1437  # of digits, as scikit-learn brings them, without the test split
MACHINES = """
provider: test
version: "1"
machine_types:
"""
_MACHINE = """
  {name}:
    list_price_usd_per_hour: 0.02
    software_usd_per_hour: 0.0
    discount_percent: 0.0
    value_of_hour_usd: 1.0
    source: this test
    date: 2026-11-24
    kubernetes:
      cpu_cores: {cores}
      memory_gib: 1.5
      node_selector: {{tally.dev/test-{name}: "yes"}}
"""
MACHINES += "".join(
    _MACHINE.format(name=name, cores=cores)
    for name, cores in {"small": 0.6, "other": 0.5, "huge": 1000}.items()
)


def node_address() -> str:
    """Where pods reach this machine; with another's cluster, say it in TEST_ADDRESS."""
    words = subprocess.run(["hostname", "-I"], capture_output=True, text=True, check=True).stdout
    return os.environ.get("TEST_ADDRESS") or words.split()[0]


@dataclass(frozen=True)
class Store:
    """A real S3 server on this machine."""

    endpoint: str

    bucket: str = BUCKET

    def read(self, key: str) -> bytes:
        return bytes(self._client().get_object(Bucket=self.bucket, Key=key)["Body"].read())

    def keys(self, prefix: str) -> list[str]:
        found = self._client().list_objects_v2(Bucket=self.bucket, Prefix=prefix)
        return [item["Key"] for item in found.get("Contents", [])]

    def make(self) -> None:
        self._client().create_bucket(Bucket=self.bucket)

    def _client(self) -> Any:
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id="tests",
            aws_secret_access_key="tests",
        )


@dataclass(frozen=True)
class Conducted:
    """A run in a namespace, and what its conductors' pods tell."""

    cluster: Cluster
    namespace: str
    run_id: str

    def events(self, conductor: str) -> list[dict[str, Any]]:
        """What this conductor has told so far."""
        try:
            lines = log_of(self.cluster, self.namespace, conductor).splitlines()
        except (Refused, client.ApiException):
            return []  # its container has not started
        return [json.loads(line) for line in lines if line.startswith("{")]

    def until(
        self, conductor: str, is_it: Callable[[dict[str, Any]], Any], seconds: float = 180
    ) -> dict[str, Any]:
        """The first event of this conductor that is it; its log where none comes."""
        deadline = time.monotonic() + seconds
        while True:
            over = self._is_over(conductor)
            for event in self.events(conductor):
                if is_it(event):
                    return event
            assert not over, f"it is over: {self.log(conductor)}"
            assert time.monotonic() < deadline, f"not within {seconds} s: {self.log(conductor)}"
            time.sleep(0.3)

    def until_gang(self, conductor: str, *workers: str, after: int = 0) -> dict[str, Any]:
        """The first generation above `after` of just these workers."""
        wanted = sorted(workers)
        return self.until(
            conductor,
            lambda e: (
                e["event"] == "generation"
                and e["generation"] > after
                and sorted(e["workers"]) == wanted
            ),
        )

    def until_ended(self, conductor: str, seconds: float = 300) -> list[dict[str, Any]]:
        """Wait for this conductor's step to end well; all that it told."""
        ended = ("train", "step_ended")
        self.until(conductor, lambda e: (e["step"], e["event"]) == ended, seconds)
        return self.events(conductor)

    def _is_over(self, conductor: str) -> bool:
        return phase_of(self.cluster, self.namespace, conductor) in ("Succeeded", "Failed")

    def log(self, conductor: str) -> str:
        try:
            text = log_of(self.cluster, self.namespace, conductor)
        except (Refused, client.ApiException) as error:
            text = str(error)
        pods = [
            (pod["metadata"]["name"], pod["status"]["phase"])
            for pod in every(self.cluster, "Pod", self.namespace)
        ]
        lines = [line for line in text.splitlines() if '"progress"' not in line]
        return f"{pods}\n" + "\n".join(lines[-40:])

    def resize(self, conductor: str, *arguments: str) -> None:
        """`tally resize` in the conductor's pod."""
        said = execute(self.namespace, conductor, ["tally", "resize", self.run_id, *arguments])
        assert said.startswith("asked"), said


@dataclass(frozen=True)
class Training(Conducted):
    """One whose store is that server; each attempt is a conductor's pod."""

    store: Store

    def begin(self, attempt: int = 1, **settings: object) -> str:
        """Make the conductor's pod; its name."""
        name = f"conductor-{attempt}"
        command = ["python", "-m", "tally.steps.train"]
        command += [f"{key}={value}" for key, value in settings.items()]
        environment = {
            "TALLY_STORE": f"s3://{BUCKET}",
            "TALLY_ATTEMPT": str(attempt),
            "TALLY_MACHINES": "/etc/tally-machines",
            "AWS_ENDPOINT_URL": self.store.endpoint,
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        pod = conductor_pod(name, self.run_id, command, environment)
        (main,) = pod["spec"]["containers"]
        main["resources"] = {"requests": {"cpu": "100m"}, "limits": {"memory": "1Gi"}}
        main["env"] += [
            {"name": key, "valueFrom": {"secretKeyRef": {"name": "store", "key": key}}}
            for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
        ]
        _replace_store(pod, {"name": "machines", "configMap": {"name": "machines"}})
        apply(self.cluster, pod, self.namespace)
        return name

    def prepare(self) -> None:
        """What the pods read: the store's credentials, the machine types."""
        data = dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "tests")
        secret = {"kind": "Secret", "metadata": {"name": "store"}, "stringData": data}
        apply(self.cluster, secret, self.namespace)
        machines = {"metadata": {"name": "machines"}, "data": {"own.yaml": MACHINES}}
        self.cluster.request("POST", f"api/v1/namespaces/{self.namespace}/configmaps", machines)

    def weights(self) -> dict[str, bytes]:
        """Of each variable the bytes."""
        kept = self.store.read(f"runs/{self.run_id}/model/weights.safetensors")
        return {name: value.tobytes() for name, value in load(kept).items()}

    def examples_trained(self) -> int:
        summary = json.loads(self.store.read(f"runs/{self.run_id}/model/training.json"))
        return int(summary["examples_trained"])


def _replace_store(pod: dict[str, Any], volume: dict[str, Any]) -> None:
    (main,) = pod["spec"]["containers"]
    volumes = [v for v in pod["spec"]["volumes"] if v["name"] != "store"]
    mounts = [m for m in main["volumeMounts"] if m["name"] != "store"]
    pod["spec"]["volumes"] = [*volumes, volume]
    main["volumeMounts"] = [*mounts, {"name": volume["name"], "mountPath": "/etc/tally-machines"}]


def execute(namespace: str, pod: str, command: list[str]) -> str:
    """What a command in a pod's container says."""
    api = client.CoreV1Api(config.new_client_from_config(os.environ["KUBECONFIG"]))
    answer = stream(
        api.connect_get_namespaced_pod_exec, pod, namespace, container="main", command=command,
        stdin=False, stdout=True, stderr=True, tty=False, _request_timeout=60,
    )  # fmt: skip
    return str(answer)


def secret_value(cluster: Cluster, namespace: str, name: str, key: str) -> bytes:
    found = cluster.request("GET", f"{path_of('Secret', namespace)}/{name}")
    return base64.b64decode(found["data"][key])
