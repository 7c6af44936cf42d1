"""What Prometheus finds of pods and nodes, as files: Debian's Prometheus has no Kubernetes in it.

The labels are those that its discovery of Kubernetes would give, so that all that prometheus.yaml
does with them is done by a real Prometheus.
"""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

Object = Mapping[str, Any]
Target = dict[str, Any]


def pod_targets(pods: Iterable[Object], selector: str) -> list[Target]:
    """One target a container's port, of pods that the selector ("key" or "key=value") names."""
    key, _, value = selector.partition("=")
    found = []
    for pod in pods:
        labels = pod["metadata"].get("labels", {})
        if key in labels and (not value or labels[key] == value):
            for container in pod["spec"]["containers"]:
                for port in container.get("ports", []):
                    found.append(_of_port(pod, container, port))
    return found


def _of_port(pod: Object, container: Object, port: Object) -> Target:
    meta, status = pod["metadata"], pod["status"]
    labels = {
        "__meta_kubernetes_namespace": meta["namespace"],
        "__meta_kubernetes_pod_name": meta["name"],
        "__meta_kubernetes_pod_uid": meta["uid"],
        "__meta_kubernetes_pod_ip": status["podIP"],
        "__meta_kubernetes_pod_phase": status["phase"],
        "__meta_kubernetes_pod_node_name": pod["spec"].get("nodeName", ""),
        "__meta_kubernetes_pod_container_name": container["name"],
        "__meta_kubernetes_pod_container_port_name": port.get("name", ""),
        "__meta_kubernetes_pod_container_port_number": str(port["containerPort"]),
    }
    for what in ("label", "annotation"):
        for name, value in (meta.get(f"{what}s") or {}).items():
            labels[f"__meta_kubernetes_pod_{what}_{_plain(name)}"] = value
    return {"targets": [f"{status['podIP']}:{port['containerPort']}"], "labels": labels}


def node_targets(nodes: Iterable[Object]) -> list[Target]:
    """The kubelet of each node."""
    found = []
    for node in nodes:
        addresses = {each["type"]: each["address"] for each in node["status"]["addresses"]}
        port = node["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"]
        name = node["metadata"]["name"]
        labels = {"instance": name, "__meta_kubernetes_node_name": name}
        found.append({"targets": [f"{addresses['InternalIP']}:{port}"], "labels": labels})
    return found


def by_files(config: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The same configuration, its targets from files: `folder`/JOB.json."""
    jobs = []
    for job in config["scrape_configs"]:
        kept = {key: value for key, value in job.items() if key != "kubernetes_sd_configs"}
        files = [str(folder / f"{job['job_name']}.json")]
        jobs.append(kept | {"file_sd_configs": [{"files": files, "refresh_interval": "1s"}]})
    return {**config, "scrape_configs": jobs}


def write_targets(folder: Path, job: str, targets: list[Target]) -> None:
    """Whole or not at all: Prometheus may be reading."""
    draft = folder / f".{job}.draft"
    draft.write_text(json.dumps(targets))
    draft.rename(folder / f"{job}.json")


def selector(config: Mapping[str, Any], job: str) -> str:
    """The label by which a job's pods are found."""
    (found,) = [each for each in config["scrape_configs"] if each["job_name"] == job]
    return str(found["kubernetes_sd_configs"][0]["selectors"][0]["label"])


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_]", "_", name)
