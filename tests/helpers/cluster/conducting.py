"""Conductors as pods, under the account of manifests/gang-rbac.yaml, and a store that stays."""

import json
from pathlib import Path
from typing import Any

from helpers.cluster.objects import IMAGE, apply, every, log_of, path_of, until_true
from helpers.cluster.volumes import bind, is_node_here, open_folder
from tally.kube.cluster import Cluster


def make_store(cluster: Cluster, namespace: str, folder: Path) -> None:
    """A claim named `store`: a folder of this machine, elsewhere a volume of the default class."""
    spec: dict[str, Any] = {
        "accessModes": ["ReadWriteMany"],
        "resources": {"requests": {"storage": "1Gi"}},
    }
    if is_node_here():
        spec |= bind(cluster, open_folder(folder), namespace, "store", "ReadWriteMany", "1Gi")
    claim = {"kind": "PersistentVolumeClaim", "metadata": {"name": "store"}, "spec": spec}
    apply(cluster, claim, namespace)


def conductor_pod(
    name: str, run_id: str, command: list[str], environment: dict[str, str]
) -> dict[str, Any]:
    """A step's pod as KFP would make it, with all that it keeps on an emptyDir but the store."""
    fields = {
        "TALLY_POD": "metadata.name",
        "TALLY_HOST": "status.podIP",
        "TALLY_RUN_ID": "metadata.labels['pipeline/runid']",
    }
    usual = {"TALLY_STORE": "/store", "TALLY_HOME": "/home/tally", **environment}
    resources = {"cpu": "500m", "memory": "1Gi"}
    return {
        "kind": "Pod",
        "metadata": {
            "name": name,
            "labels": {"pipeline/runid": run_id, "tally.dev/conductor": "train"},
        },
        "spec": {
            "serviceAccountName": "tally-conductor",
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 2,  # KFP leaves a step's process about 1 s
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65532,
                "fsGroup": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "main",
                    "image": IMAGE,
                    "imagePullPolicy": "IfNotPresent",
                    "command": command,
                    "env": [
                        *({"name": key, "value": value} for key, value in usual.items()),
                        *(
                            {"name": key, "valueFrom": {"fieldRef": {"fieldPath": path}}}
                            for key, path in fields.items()
                        ),
                    ],
                    "resources": {"requests": resources, "limits": resources},
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "capabilities": {"drop": ["ALL"]},
                    },
                    "volumeMounts": [
                        {"name": "home", "mountPath": "/home/tally"},
                        {"name": "tmp", "mountPath": "/tmp"},
                        {"name": "store", "mountPath": "/store"},
                    ],
                }
            ],
            "volumes": [
                {"name": "home", "emptyDir": {}},
                {"name": "tmp", "emptyDir": {}},
                {"name": "store", "persistentVolumeClaim": {"claimName": "store"}},
            ],
        },
    }


def phase_of(cluster: Cluster, namespace: str, pod: str) -> str:
    answer = cluster.request("GET", f"{path_of('Pod', namespace)}/{pod}")
    return str(answer["status"]["phase"])


def running_workers(cluster: Cluster, namespace: str) -> list[dict[str, Any]]:
    """The gang's pods whose container runs."""
    return [
        pod
        for pod in every(cluster, "Pod", namespace)
        if any("running" in s["state"] for s in pod["status"].get("containerStatuses", []))
    ]


def until_workers(
    cluster: Cluster, namespace: str, workers: int, seconds: float, conductor: str = ""
) -> list[dict[str, Any]]:
    """Wait for so many running workers; how pods are and the conductor's log if none come."""
    try:
        return list(
            until_true(
                lambda: pods if len(pods := running_workers(cluster, namespace)) == workers else [],
                seconds,
            )
        )
    except AssertionError:
        for pod in every(cluster, "Pod", namespace, ""):
            print(pod["metadata"]["name"], json.dumps(pod["status"]))
        if conductor:
            print(log_of(cluster, namespace, conductor))
        raise
