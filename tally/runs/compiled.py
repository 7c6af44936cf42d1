"""A pipeline as a cluster takes it: what compiling adds, and what travels inside.

One source serves both engines. Kubeflow's local runner gets the pipeline as it is written. For a
cluster its function is traced once more, and each task gets what the source left open:
kfp-kubernetes works on tasks, and some of it the local runner must not see (it would retry a step
that failed on bad input, and warn of every request and limit).
"""

import functools
import hashlib
import inspect
import os
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tally import buckets, content, userfile
from tally.data import registry as datasets
from tally.errors import SpecError
from tally.kube.manifests import CONDUCTOR, label_value
from tally.kube.template import USER, worker_template
from tally.machines.catalogue import machine
from tally.models import registry as models
from tally.runs import pipelines
from tally.runs.placement import COMPONENTS_IMAGE, Placement, placement
from tally.runs.userimports import require_in_image
from tally.spec import Spec
from tally.userfile import UserFile, is_user_file

RETRIES = 2
CONDUCTOR_STEP = "train"
_SECRET_KEYS = {"accesskey": "AWS_ACCESS_KEY_ID", "secretkey": "AWS_SECRET_ACCESS_KEY"}
_TRAVELLING = ("model", "dataset")  # parameters; a file of the user's defines a function so named
_FIELDS = {
    "TALLY_RUN_ID": "metadata.labels['pipeline/runid']",
    "TALLY_POD": "metadata.name",
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
    "bill": Needs(
        cpu_request="100m", cpu_limit="500m", memory_request="512Mi", memory_limit="512Mi",
        timeout_seconds=_HOUR // 4,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Compiled:
    """A pipeline as a cluster takes it.

    Attributes:
        name: the pipeline's.
        ir: Kubeflow's IR, YAML in two documents; the same sources give the same bytes.
        arguments: of a run, all parameters.
    """

    name: str
    ir: bytes
    arguments: dict[str, Any]

    @property
    def content(self) -> str:
        """The IR's SHA-256: of the pipeline, its image, its settings and the user's own files."""
        return hashlib.sha256(self.ir).hexdigest()


def compile_for_cluster(
    name: str, settings: dict[str, str], environment: Mapping[str, str] = os.environ
) -> Compiled:
    """Compile a pipeline for a cluster, with what it needs of this machine inside it.

    Args:
        name: a packaged pipeline, or the path of the user's own file.
        settings: parameters over the pipeline's presets.
        environment: where settings of the cluster are; see `placement`.

    Raises:
        SpecError: bad input: no such pipeline, a parameter, a setting, a file that cannot travel, a
            dataset that no pod would find.
    """
    pipeline = pipelines.load(name)
    asked = pipelines.spec(pipeline, settings)
    placed = placement(environment)
    files = _travelling(asked)
    models.find(asked.model)
    if asked.machine_type:
        worker_template(
            machine(asked.machine_type), placed.image
        )  # refuses what is none of a cluster
    _require_reachable(asked, placed)
    there = asked.model_copy(update={field: file.pod_path for field, file in files.items()})
    replaced = {
        field: getattr(there, field)
        for field in _TRAVELLING
        if is_user_file(str(pipeline.component_spec.inputs[field].default))
    }
    made = for_cluster(pipeline, placed, files.values(), **replaced)
    return Compiled(pipeline.name, _ir(made), there.model_dump())


def _travelling(asked: Spec) -> dict[str, UserFile]:
    """The user's files among the parameters, by parameter."""
    files = {}
    for field in _TRAVELLING:
        if is_user_file(path := getattr(asked, field)):
            files[field] = userfile.read(path, [field])
            require_in_image(path, files[field], pipelines.PROJECT / content.LOCK)
    return files


def _require_reachable(asked: Spec, placed: Placement) -> None:
    """Refuse a dataset that is on this machine only.

    Raises:
        SpecError: it is; or what `datasets.check` refuses.
    """
    name, store = asked.dataset, placed.environment["TALLY_STORE"]
    if name in datasets.names() or buckets.is_address(name) or is_user_file(name):
        datasets.check(asked)
    elif not (placed.store_claim and Path(name).is_relative_to(store)):
        raise SpecError(
            f"dataset: expected one that pods reach ({', '.join(datasets.names())}, gs://…, "
            f"s3://…, or a Python file with dataset()), got {name}; copy it into a bucket"
        )


def _ir(pipeline: Any) -> bytes:
    from kfp import compiler

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ir.yaml"
        compiler.Compiler().compile(pipeline, str(path))
        return path.read_bytes()


def for_cluster(
    pipeline: Any, placed: Placement, files: Iterable[UserFile] = (), **defaults: Any
) -> Any:
    """The pipeline with all that a cluster needs, made from the same function.

    Args:
        pipeline: as the source has it; what it sets itself stays.
        placed: where its steps run.
        files: of the user's, that travel with it.
        defaults: instead of its own: paths of those files in a pod.
    """
    from kfp import dsl
    from kfp.dsl import pipeline_context

    name, trace, travelling = pipeline.name, pipeline.pipeline_func, tuple(files)
    environment = {
        **placed.environment,
        "TALLY_PIPELINE": name,
        **({content.EXPECTED: placed.content} if placed.content else {}),
        **({userfile.VARIABLE: userfile.pack(travelling)} if travelling else {}),
    }

    @functools.wraps(trace)
    def traced(*arguments: Any) -> Any:
        outputs = trace(*arguments)
        for step, task in pipeline_context.Pipeline.get_default_pipeline().tasks.items():
            if task.container_spec is not None:  # an importer or a pipeline has no pod of its own
                _set_limits(task, NEEDS.get(step, _OTHER))
                _set_place(task, name, step, placed, environment)
        return outputs

    signature = inspect.signature(trace)
    traced.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[
            parameter.replace(default=defaults.get(parameter.name, parameter.default))
            for parameter in signature.parameters.values()
        ]
    )
    return dsl.pipeline(name=name, description=pipeline.description)(traced)


def _set_limits(task: Any, needs: Needs) -> None:
    """Requests and limits where the source gives none, time-out, retries."""
    from kfp import kubernetes

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
    if task._task_spec.retry_policy is None:
        task.set_retry(RETRIES, "30s", 2.0, "300s")


def _set_place(
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
    if step == CONDUCTOR_STEP:  # there is one where manifests/components/kueue is
        kubernetes.use_config_map_as_env(
            task, "tally", {"TALLY_QUEUE": "TALLY_QUEUE"}, optional=True
        )
    if placed.image and task.container_spec.image == COMPONENTS_IMAGE:
        task.set_container_image(placed.image)
    if placed.pull_secrets:
        kubernetes.set_image_pull_secrets(task, list(placed.pull_secrets))
    if placed.store_secret:
        kubernetes.use_secret_as_env(task, placed.store_secret, _SECRET_KEYS)
    if placed.store_claim:
        kubernetes.mount_pvc(task, placed.store_claim, placed.environment["TALLY_STORE"])
