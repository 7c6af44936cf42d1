"""The gang of a conductor that is a pod itself: image, store and owner are those of its own pod."""

import os
from collections.abc import Mapping
from typing import Any

from tally.buckets import endpoints
from tally.errors import RunError
from tally.kube.cluster import Cluster, own_namespace
from tally.kube.gang import KubernetesGang
from tally.kube.manifests import GangSpec
from tally.kube.template import Object, Volume, WorkerTemplate, worker_template
from tally.machines.catalogue import machine
from tally.scaling.rightsizing import WORKER, Requests

_STORE = ("TALLY_STORE", "TALLY_USER_FILES", "AWS_", "GOOGLE_", "STORAGE_EMULATOR_HOST")
_ENDPOINTS = (*endpoints.NAMES, "STORAGE_EMULATOR_HOST")
_LASTING = ("persistentVolumeClaim", "hostPath", "nfs", "csi", "secret", "configMap")
_NOT_OURS = ("/var/run/secrets/", "/var/run/argo", "/argo", "/kfp")


def gang_here(
    *,
    run_id: str,
    step: str,
    pipeline: str,
    attempt: int,
    coordinator: str,
    token: bytes,
    machine_type: str | None = None,
    size: Requests = WORKER,
    deadline_seconds: int = 7 * 24 * 3600,
) -> KubernetesGang:
    """The gang of the run whose conductor this pod is; nothing is started yet.

    Args:
        run_id, step, pipeline, attempt: whose gang.
        coordinator: an address of this pod, "host:port".
        token: printable.
        machine_type: of the catalogue; a worker has such a machine to itself.
        size: of a worker where there is no machine type.
        deadline_seconds: after which Kubernetes itself ends the gang.

    Raises:
        RunError: this pod cannot be read.
        SpecError: there is no such machine type, or it is none of a cluster.
    """
    cluster = Cluster()
    pod = own_pod(cluster)
    namespace = pod["metadata"]["namespace"]
    spec = GangSpec(
        run_id=run_id,
        step=step,
        pipeline=pipeline,
        team=(pod["metadata"].get("labels") or {}).get("tally.dev/team", namespace),
        attempt=attempt,
        namespace=namespace,
        coordinator=coordinator,
        deadline_seconds=deadline_seconds,
        owner=owner_of(pod),
        store_ports=store_ports(),
        metered=bool(os.environ.get("TALLY_METER_URL")),
        queue=os.environ.get("TALLY_QUEUE", ""),
    )
    like = like_own_pod(pod)
    if machine_type is None:
        template = sized_template(size, **like)
    else:
        template = worker_template(machine(machine_type), like.pop("image"), **like)
    return KubernetesGang(cluster, spec, template, token)


def sized_template(size: Requests, **like: Any) -> WorkerTemplate:
    """Of workers of this size, with all else as `like_own_pod` says."""
    return WorkerTemplate(
        cpu_cores=size.cpu_limit_cores,
        memory_bytes=size.memory_limit_bytes,
        cpu_request_cores=size.cpu_cores,
        memory_request_bytes=size.memory_bytes,
        **like,
    )


def own_address() -> str:
    """Where this pod is reached: TALLY_HOST, else as the API server has it.

    Raises:
        RunError: this pod cannot be read.
    """
    return os.environ.get("TALLY_HOST") or str(own_pod(Cluster())["status"]["podIP"])


def store_ports() -> tuple[int, ...]:
    """Those that workers reach their store at: that of https, and of an endpoint given by name."""
    given = (os.environ.get(name) for name in _ENDPOINTS)
    return tuple(sorted({443} | {endpoints.port_of(url) for url in given if url}))


def own_pod(cluster: Cluster) -> Object:
    """This pod, as the API server has it.

    Raises:
        RunError: it cannot be read.
    """
    name = os.environ.get("TALLY_POD")
    if not name:
        raise RunError("Kubernetes: expected the name of this pod, got none; set TALLY_POD")
    return cluster.request("GET", f"api/v1/namespaces/{own_namespace()}/pods/{name}")


def owner_of(pod: Object) -> Object:
    """An ownerReference: to the Workflow that this pod belongs to, else to this pod."""
    owners = pod["metadata"].get("ownerReferences") or []
    if owners:
        return {**owners[0], "controller": False, "blockOwnerDeletion": False}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "name": pod["metadata"]["name"],
        "uid": pod["metadata"]["uid"],
    }


def like_own_pod(pod: Object) -> dict[str, Any]:
    """What workers take over from the conductor's pod, as fields of WorkerTemplate.

    Its image, and what leads to the store: environment, credentials, volumes that outlive a pod. Of
    candidates for the store's server they get the one that this step has taken.
    """
    container = _main(pod)
    entries = container.get("env") or []
    secret_environment = {
        entry["name"]: (source["name"], source["key"])
        for entry in entries
        if (source := (entry.get("valueFrom") or {}).get("secretKeyRef"))
    }
    environment = {
        entry["name"]: str(entry["value"])
        for entry in entries
        if entry["name"].startswith(_STORE) and entry.get("value")
    }
    if environment.pop(endpoints.VARIABLE, ""):
        environment |= {name: os.environ[name] for name in endpoints.NAMES if name in os.environ}
    secrets = pod["spec"].get("imagePullSecrets") or []
    return {
        "image": container["image"],
        "pull_policy": container.get("imagePullPolicy", "IfNotPresent"),
        "pull_secrets": tuple(secret["name"] for secret in secrets),
        "environment": environment,
        "secret_environment": secret_environment,
        "volumes": _volumes(pod, container),
    }


def _main(pod: Object) -> Mapping[str, Any]:
    containers: list[Mapping[str, Any]] = pod["spec"]["containers"]
    return next((c for c in containers if c["name"] == "main"), containers[0])


def _volumes(pod: Object, container: Mapping[str, Any]) -> tuple[Volume, ...]:
    sources = {
        volume["name"]: {kind: value for kind, value in volume.items() if kind != "name"}
        for volume in pod["spec"].get("volumes") or []
    }
    return tuple(
        Volume(
            name=mount["name"],
            path=mount["mountPath"],
            source=sources[mount["name"]],
            read_only=bool(mount.get("readOnly")),
        )
        for mount in container.get("volumeMounts") or []
        if set(sources[mount["name"]]) & set(_LASTING)
        and not mount["mountPath"].startswith(_NOT_OURS)
    )
