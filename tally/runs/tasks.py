"""What each task of a pipeline gets for a cluster, where its source left that open."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from tally.content import COMPONENTS_IMAGE
from tally.kube.manifests import CONDUCTOR, label_value
from tally.kube.quantities import quantity
from tally.kube.template import USER
from tally.machines.files import VARIABLE
from tally.runs.placement import Placement
from tally.scaling.rightsizing import Requests

CONDUCTOR_STEP = "train"
CATALOGUE_STEPS = ("plan", "train")
SECRET_KEYS = {"accesskey": "AWS_ACCESS_KEY_ID", "secretkey": "AWS_SECRET_ACCESS_KEY"}
_MACHINES, _MACHINES_FOLDER = "tally-machines", "/etc/tally/machines"
_FIELDS = {
    "TALLY_RUN_ID": "metadata.labels['pipeline/runid']",
    "TALLY_POD": "metadata.name",
    "TALLY_POD_UID": "metadata.uid",
    "TALLY_HOST": "status.podIP",
    "TALLY_ARGO_NODE": "metadata.annotations['workflows.argoproj.io/node-name']",
}


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What a step's pod asks for, and how long it may take once it has a node.

    Attributes:
        cpu_request, cpu_limit, memory_request, memory_limit: as Kubernetes writes them.
        timeout_seconds: of its pod; waiting for a node does not count.
    """

    cpu_request: str
    cpu_limit: str
    memory_request: str
    memory_limit: str
    timeout_seconds: int


_HOUR = 3600
_OTHER = Needs(
    cpu_request="500m", cpu_limit="2", memory_request="2Gi", memory_limit="2Gi",
    timeout_seconds=6 * _HOUR,
)  # fmt: skip
NEEDS = {
    # the conductor: its workers are pods of their own, which end after seven days at the latest
    "train": Needs(
        cpu_request="500m", cpu_limit="1", memory_request="1Gi", memory_limit="1Gi",
        timeout_seconds=7 * 24 * _HOUR,
    ),
    "plan": Needs(
        cpu_request="250m", cpu_limit="1", memory_request="1Gi", memory_limit="1Gi",
        timeout_seconds=_HOUR // 4,
    ),
    "bill": Needs(
        cpu_request="100m", cpu_limit="500m", memory_request="512Mi", memory_limit="512Mi",
        timeout_seconds=_HOUR // 4,
    ),
}  # fmt: skip


def usual(step: str) -> Requests:
    """What a step's pod asks for where nothing else is known."""
    needs = NEEDS.get(step, _OTHER)
    return Requests(
        cpu_cores=float(quantity(needs.cpu_request)),
        memory_bytes=int(quantity(needs.memory_request)),
        cpu_limit_cores=float(quantity(needs.cpu_limit)),
        memory_limit_bytes=int(quantity(needs.memory_limit)),
    )


def _sized(needs: Needs, size: Requests | None) -> Needs:
    """These needs, with the amounts of past lives; CPU's limit is the usual."""
    if size is None:
        return needs
    return replace(
        needs,
        cpu_request=f"{round(size.cpu_cores * 1000)}m",
        memory_request=f"{size.memory_bytes >> 20}Mi",
        memory_limit=f"{size.memory_limit_bytes >> 20}Mi",
    )


def set_limits(task: Any, step: str, size: Requests | None = None) -> None:
    """Requests and limits where the source gives none, and a time-out.

    No retries: Kubeflow's own manifests give every pod two where it was lost (evicted, its node
    gone) and none where its program failed. A policy of the task's would be merged into that one:
    its backoff is waited out before a failure is told, and its longest duration counts from the
    start of the first try. KFP knows no other policy.

    Args:
        size: of past lives, in place of the usual.
    """
    from kfp import kubernetes

    needs = _sized(NEEDS.get(step, _OTHER), size)
    given = task.container_spec.resources
    for what in ("cpu", "memory"):
        request, limit = (getattr(given, f"{what}_{kind}", None) for kind in ("request", "limit"))
        usual = getattr(needs, f"{what}_request"), getattr(needs, f"{what}_limit")
        if request or limit:  # one alone is both: a usual limit may lie below a request
            usual = request or limit, limit or request
        getattr(task, f"set_{what}_request")(usual[0])
        getattr(task, f"set_{what}_limit")(usual[1])
    if "activeDeadlineSeconds" not in task.platform_config.get("kubernetes", {}):
        kubernetes.set_timeout(task, needs.timeout_seconds)


def set_place(
    task: Any, pipeline: str, step: str, placed: Placement, environment: Mapping[str, str]
) -> None:
    """As whom, with which image, labels and environment."""
    from kfp import kubernetes

    # without these a namespace of the standard `restricted` refuses the pod
    kubernetes.set_security_context(task, run_as_user=USER, run_as_non_root=True)
    labels = {"tally.dev/pipeline": label_value(pipeline), "tally.dev/step": label_value(step)}
    if step == CONDUCTOR_STEP:
        labels[CONDUCTOR] = label_value(step)
    for key, value in labels.items():
        kubernetes.add_pod_label(task, key, value)
    for name, path in _FIELDS.items():
        kubernetes.use_field_path_as_env(task, name, path)
    for name, value in environment.items():
        task.set_env_variable(name, value)
    if step == CONDUCTOR_STEP:
        # manifests/components/kueue
        queue = {"TALLY_QUEUE": "TALLY_QUEUE"}
        kubernetes.use_config_map_as_env(task, "tally", queue, optional=True)
    if step in CATALOGUE_STEPS:
        # machine types of one's own, in the ConfigMap that the meter has in its namespace
        kubernetes.use_config_map_as_volume(task, _MACHINES, _MACHINES_FOLDER, optional=True)
        task.set_env_variable(VARIABLE, _MACHINES_FOLDER)
    if placed.image and task.container_spec.image == COMPONENTS_IMAGE:
        task.set_container_image(placed.image)
    if placed.pull_secrets:
        kubernetes.set_image_pull_secrets(task, list(placed.pull_secrets))
    if placed.store_secret:
        kubernetes.use_secret_as_env(task, placed.store_secret, SECRET_KEYS)
    if placed.store_claim:
        kubernetes.mount_pvc(task, placed.store_claim, placed.environment["TALLY_STORE"])
