"""A real training in the namespace of runs that `make deploy` made, and the meter as its user."""

from pathlib import Path
from typing import Any

from helpers.cluster.conducting import conductor_pod
from helpers.cluster.deploying import RUNS
from helpers.cluster.objects import apply, path_of
from helpers.cluster.training_pods import Conducted
from tally.kube.cluster import Cluster
from tally.meterclient import MeterClient

CONDUCTOR = "conductor"
# the overlay's nodes are of this type; a worker asks for less of one than on GKE, and for a label
# that they get later
NODES = {"tally.dev/test-deployed": "yes"}
MACHINES = """
machine_types:
  e2-standard-2:
    kubernetes:
      cpu_cores: 0.4
      memory_gib: 1.5
      node_selector: {tally.dev/test-deployed: "yes"}
"""
ASKED = {
    "model": "cnn", "dataset": "digits", "augment": 1, "epochs": 10000, "batch_size": 64,
    "workers": 2, "max_workers": 3, "checkpoint_seconds": 5, "machine_type": "e2-standard-2",
    "queue_seconds": 120,
}  # fmt: skip
_MOUNTS = {"machines": "/etc/tally-machines", "meter-token": "/var/run/secrets/tally"}
_VOLUMES = [
    {"name": "machines", "configMap": {"name": "machines"}},
    {
        "name": "meter-token",
        "projected": {
            "sources": [{"serviceAccountToken": {"audience": "tally-meter", "path": "token"}}]
        },
    },
]


def begin(run: Conducted, **environment: str) -> None:
    """Make its conductor's pod, which tells the meter; its store is the claim `store`."""
    settings = {
        "TALLY_PIPELINE": "cnn",
        "TALLY_MACHINES": "/etc/tally-machines",
        "TALLY_METER_URL": "http://tally-meter.tally.svc:8080",
        "TALLY_METER_TOKEN_FILE": "/var/run/secrets/tally/token",
    }
    command = ["python", "-m", "tally.steps.train"]
    command += [f"{key}={value}" for key, value in ASKED.items()]
    pod = conductor_pod(CONDUCTOR, run.run_id, command, settings | environment)
    pod["metadata"]["labels"] |= {"tally.dev/pipeline": "cnn", "tally.dev/step": "train"}
    (main,) = pod["spec"]["containers"]
    main["resources"] = {"requests": {"cpu": "100m"}, "limits": {"memory": "1Gi"}}
    main["volumeMounts"] += [{"name": k, "mountPath": path} for k, path in _MOUNTS.items()]
    pod["spec"]["volumes"] += _VOLUMES
    machines = {"metadata": {"name": "machines"}, "data": {"own.yaml": MACHINES}}
    run.cluster.request("POST", f"api/v1/namespaces/{run.namespace}/configmaps", machines)
    apply(run.cluster, pod, run.namespace)


def settings_of_meter(
    cluster: Cluster, url: str, folder: Path, account: str = "tally-conductor"
) -> dict[str, str]:
    """TALLY_METER_URL and the token of an account, as a user of this machine has them."""
    path = f"{path_of('ServiceAccount', RUNS)}/{account}/token"
    body = {"spec": {"audiences": ["tally-meter"], "expirationSeconds": 3600}}
    token: dict[str, Any] = cluster.request("POST", path, body)
    (folder / "meter-token").write_text(token["status"]["token"])
    return {"TALLY_METER_URL": url, "TALLY_METER_TOKEN_FILE": str(folder / "meter-token")}


def client_of(settings: dict[str, str]) -> MeterClient:
    found = MeterClient.from_environment(settings)
    assert found is not None
    return found
