"""Pure: the pod of a worker, from a machine type and a security context that any cluster takes."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tally.errors import SpecError
from tally.machines.machine_type import MachineType
from tally.machines.shape import Gpu, Tpu

USER = 65532
GRACE_SECONDS = 5
METRICS_PORT = 9464
TOKEN_FOLDER = "/var/run/tally"  # noqa: S105
_LOST_NODE_SECONDS = 10

Object = dict[str, Any]
"""An object as the API server reads it."""

POD_SECURITY: Object = {
    "runAsNonRoot": True,
    "runAsUser": USER,
    "runAsGroup": USER,
    "seccompProfile": {"type": "RuntimeDefault"},
}
CONTAINER_SECURITY: Object = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


@dataclass(frozen=True, kw_only=True)
class Volume:
    """A volume of the pods, as Kubernetes writes its source.

    Attributes:
        name: among the pod's volumes.
        path: where it is mounted.
        source: for instance {"persistentVolumeClaim": {"claimName": "store"}}.
        read_only: the pods cannot write it.
    """

    name: str
    path: str
    source: Mapping[str, Any]
    read_only: bool = False


@dataclass(frozen=True, kw_only=True)
class WorkerTemplate:
    """What every worker of a gang's Job looks like.

    Attributes:
        image: with Tally in it.
        cpu_cores, memory_bytes: of a worker.
        cpu_request_cores, memory_request_bytes: asked for, where that is less than the cpu_cores
            and memory_bytes that it may use; 0 where it is not.
        whole_machine: it has a machine to itself: there is no more to give.
        accelerator: all that one worker has.
        node_selector: besides the labels of the accelerator.
        tolerations: besides that of the accelerator's taint.
        environment: of the worker, nothing secret.
        secret_environment: name → (Secret, key): the store's credentials.
        volumes: the store, where it is a volume, and its credentials, where they are files.
        cache: of datasets on the node; an emptyDir where None.
        service_account: of the pods; no token of it is mounted.
        pull_policy: of the image.
        pull_secrets: names of Secrets for the registry.
        command: what runs.
    """

    image: str
    cpu_cores: float
    memory_bytes: int
    cpu_request_cores: float = 0.0
    memory_request_bytes: int = 0
    whole_machine: bool = False
    accelerator: Gpu | Tpu | None = None
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Mapping[str, str], ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    secret_environment: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    volumes: tuple[Volume, ...] = ()
    cache: Mapping[str, Any] | None = None
    service_account: str = ""
    pull_policy: str = "IfNotPresent"
    pull_secrets: tuple[str, ...] = ()
    command: tuple[str, ...] = ("python", "-m", "tally.learning.worker")


def worker_template(machine: MachineType, image: str, **others: Any) -> WorkerTemplate:
    """The template of workers that have a machine of this type to themselves.

    Args:
        machine: of the catalogue.
        image: with Tally in it.
        others: fields of WorkerTemplate that the catalogue does not know.

    Raises:
        SpecError: the catalogue does not say what a worker on it asks for.
    """
    return WorkerTemplate(image=image, **{**_of_machine(machine), **others})


def moved(template: WorkerTemplate, machine: MachineType) -> WorkerTemplate:
    """The template of the same workers on another machine type.

    Raises:
        SpecError: as `worker_template`.
    """
    return replace(template, **_of_machine(machine))


def _of_machine(machine: MachineType) -> Object:
    shape = machine.kubernetes
    if shape is None:
        raise SpecError(
            f"machine type: expected one with a `kubernetes` block in tally/machines, got "
            f"{machine.name}; add the block to its file, or name a machine type of your cluster"
        )
    return {
        "cpu_cores": shape.cpu_cores,
        "memory_bytes": shape.memory_bytes,
        "cpu_request_cores": 0.0,
        "memory_request_bytes": 0,
        "whole_machine": True,
        "accelerator": shape.gpu or shape.tpu,
        "node_selector": shape.node_selector,
    }


def resources(template: WorkerTemplate) -> Object:
    """Requests and limits: alike, so that nobody takes from a neighbour, but where past workers
    have shown what they need; there a limit stays that is never lower than without them."""
    limits = {
        "cpu": _cores(template.cpu_cores),
        "memory": _quantity(template.memory_bytes),
        **{name: str(count) for name, count in _devices(template.accelerator).items()},
    }
    requests = {
        **limits,
        "cpu": _cores(template.cpu_request_cores or template.cpu_cores),
        "memory": _quantity(template.memory_request_bytes or template.memory_bytes),
    }
    return {"requests": requests, "limits": limits}


def _cores(count: float) -> str:
    return f"{round(count * 1000)}m"


def _quantity(count_bytes: int) -> str:
    """As people read it where that is exact."""
    mebibytes, rest = divmod(count_bytes, 2**20)
    return str(count_bytes) if rest else f"{mebibytes}Mi"


def _devices(accelerator: Gpu | Tpu | None) -> dict[str, int]:
    match accelerator:
        case Gpu():
            return {"nvidia.com/gpu": accelerator.count}
        case Tpu():
            return {"google.com/tpu": accelerator.count}
    return {}


def _accelerator_labels(accelerator: Gpu | Tpu | None) -> dict[str, str]:
    match accelerator:
        case Gpu():
            return {"cloud.google.com/gke-accelerator": accelerator.type}
        case Tpu():
            return {
                "cloud.google.com/gke-tpu-accelerator": accelerator.type,
                "cloud.google.com/gke-tpu-topology": accelerator.topology,
            }
    return {}


def _tolerations(template: WorkerTemplate) -> list[Object]:
    """The accelerator's own taint, and no five minutes of waiting for a node that is lost."""
    lost = [
        {
            "key": f"node.kubernetes.io/{what}",
            "operator": "Exists",
            "effect": "NoExecute",
            "tolerationSeconds": _LOST_NODE_SECONDS,
        }
        for what in ("not-ready", "unreachable")
    ]
    devices = [
        {"key": name, "operator": "Exists", "effect": "NoSchedule"}
        for name in _devices(template.accelerator)
    ]
    return [*lost, *devices, *map(dict, template.tolerations)]


def pod_spec(
    template: WorkerTemplate, *, secret: str, subdomain: str, coordinator: str, prefix: str
) -> Object:
    """The spec of a worker's pod.

    Args:
        template: what it looks like.
        secret: name of the Secret with the gang's token, mounted as a file.
        subdomain: name of the headless Service.
        coordinator: its address, "host:port".
        prefix: of the worker's name, before its index.
    """
    volumes = _volumes(template, secret)
    spec: Object = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "subdomain": subdomain,
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "nodeSelector": {**template.node_selector, **_accelerator_labels(template.accelerator)},
        "tolerations": _tolerations(template),
        # else nobody but root could read the Secret's file
        "securityContext": {**POD_SECURITY, "fsGroup": USER},
        "containers": [
            {
                "name": "worker",
                "image": template.image,
                "imagePullPolicy": template.pull_policy,
                "command": list(template.command),
                "env": _environment(template, coordinator, prefix),
                "ports": [{"name": "metrics", "containerPort": METRICS_PORT}],
                "resources": resources(template),
                "securityContext": CONTAINER_SECURITY,
                "volumeMounts": [
                    {"name": v.name, "mountPath": v.path, "readOnly": v.read_only} for v in volumes
                ],
            }
        ],
        "volumes": [{"name": volume.name, **volume.source} for volume in volumes],
    }
    if template.service_account:
        spec["serviceAccountName"] = template.service_account
    if template.pull_secrets:
        spec["imagePullSecrets"] = [{"name": name} for name in template.pull_secrets]
    return spec


def _volumes(template: WorkerTemplate, secret: str) -> list[Volume]:
    return [
        Volume(name="tmp", path="/tmp", source={"emptyDir": {}}),  # noqa: S108
        # the default of 64 MiB is too small for what processes of a worker share
        Volume(name="shm", path="/dev/shm", source={"emptyDir": {"medium": "Memory"}}),  # noqa: S108
        Volume(name="cache", path="/cache", source=template.cache or {"emptyDir": {}}),
        Volume(
            name="token",
            path=TOKEN_FOLDER,
            source={"secret": {"secretName": secret, "defaultMode": 0o400}},
            read_only=True,
        ),
        *template.volumes,
    ]


def _environment(template: WorkerTemplate, coordinator: str, prefix: str) -> list[Object]:
    index = "metadata.annotations['batch.kubernetes.io/job-completion-index']"
    return [
        {"name": "TALLY_INDEX", "valueFrom": {"fieldRef": {"fieldPath": index}}},
        {"name": "TALLY_WORKER", "value": f"{prefix}$(TALLY_INDEX)"},
        {"name": "TALLY_UID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}},
        {"name": "TALLY_HOST", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "TALLY_COORDINATOR", "value": coordinator},
        {"name": "TALLY_TOKEN_FILE", "value": f"{TOKEN_FOLDER}/token"},
        {"name": "TALLY_CACHE", "value": "/cache"},
        {"name": "TALLY_METRICS_PORT", "value": str(METRICS_PORT)},
        *entries(template),
    ]


def entries(template: WorkerTemplate) -> list[Object]:
    """The template's own environment."""
    return [
        *({"name": name, "value": value} for name, value in template.environment.items()),
        *(
            {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}
            for name, (secret, key) in template.secret_environment.items()
        ),
    ]
