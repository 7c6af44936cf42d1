"""Volumes that are folders of this machine: the cluster of up.sh has nobody who makes any."""

import os
from pathlib import Path
from typing import Any

from helpers.cluster.objects import apply, delete
from tally.kube.cluster import Cluster


def is_node_here() -> bool:
    """Whether the cluster is that of up.sh, on this machine."""
    return Path("/run/tally-containerd/containerd.sock").exists()


def open_folder(folder: Path) -> Path:
    """Make a folder that pods can write, whoever they run as."""
    folder.mkdir()
    folder.chmod(0o777)
    for parent in folder.parents:
        if parent.stat().st_uid == os.getuid() and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o011)
    return folder


def bind(
    cluster: Cluster, folder: Path, namespace: str, claim: str, access: str, size: str
) -> dict[str, Any]:
    """A volume in this folder for the claim of this name, made anew; what the claim can ask for."""
    name = f"{namespace}-{claim}"
    delete(cluster, "PersistentVolume", name)
    volume = {
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "accessModes": [access],
            "capacity": {"storage": size},
            "hostPath": {"path": str(folder)},
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": "",
            "claimRef": {"namespace": namespace, "name": claim},
        },
    }
    apply(cluster, volume)
    return {"volumeName": name, "storageClassName": ""}
