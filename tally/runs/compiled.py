"""A pipeline as a cluster takes it: what compiling adds, and what travels inside.

One source serves both engines. Kubeflow's local runner gets the pipeline as it is written. For a
cluster its function is traced once more, and each task gets what the source left open:
kfp-kubernetes works on tasks, and some of it the local runner must not see (it would warn of every
request and limit).
"""

import functools
import hashlib
import inspect
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tally import buckets, content, userfile
from tally.baselines import registry as baselines
from tally.data import registry as datasets
from tally.errors import SpecError
from tally.kube.template import worker_template
from tally.machines.catalogue import machine
from tally.models import registry as models
from tally.runs import pipelines
from tally.runs.placement import Placement, placement
from tally.runs.tasks import set_limits, set_place
from tally.runs.userimports import require_in_image
from tally.scaling.rightsizing import Requests
from tally.spec import Spec
from tally.userfile import UserFile, is_user_file

Sizes = Callable[[str], Mapping[str, Requests]]
"""Of a pipeline's name: what its steps' pods ask for in place of the usual, by step."""

_TRAVELLING = ("model", "dataset")  # parameters; a file of the user's defines a function so named


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
    name: str,
    settings: dict[str, str],
    environment: Mapping[str, str] = os.environ,
    sizes: Sizes = lambda name: {},
) -> Compiled:
    """Compile a pipeline for a cluster, with what it needs of this machine inside it.

    Args:
        name: a packaged pipeline, or the path of the user's own file.
        settings: parameters over the pipeline's presets.
        environment: where settings of the cluster are; see `placement`.
        sizes: asked once all else is checked.

    Raises:
        SpecError: bad input: no such pipeline, a parameter, a setting, a file that cannot travel, a
            dataset that no pod would find.
    """
    pipeline = pipelines.load(name)
    asked = pipelines.spec(pipeline, settings)
    placed = placement(environment)
    files = _travelling(asked)
    models.find(asked.model)
    baselines.find(asked.baseline)
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
    sized = sizes(pipeline.name)
    made = for_cluster(pipeline, placed, files.values(), sized, **replaced)
    return Compiled(pipeline.name, _ir(made), there.model_dump())


def compile_to(name: str, out: Path | None) -> Path:
    """Compile a pipeline to IR YAML; where it is (`<pipeline>.yaml` here, unless told).

    Raises:
        SpecError: as `compile_for_cluster`.
    """
    made = compile_for_cluster(name, {})
    path = out or Path(f"{made.name}.yaml")
    path.write_bytes(made.ir)
    return path


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
    pipeline: Any,
    placed: Placement,
    files: Iterable[UserFile] = (),
    sizes: Mapping[str, Requests] = MappingProxyType({}),
    **defaults: Any,
) -> Any:
    """The pipeline with all that a cluster needs, made from the same function.

    Args:
        pipeline: as the source has it; what it sets itself stays.
        placed: where its steps run.
        files: of the user's, that travel with it.
        sizes: what steps ask for in place of the usual.
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
                set_limits(task, step, sizes.get(step))
                set_place(task, name, step, placed, environment)
        return outputs

    signature = inspect.signature(trace)
    traced.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[
            parameter.replace(default=defaults.get(parameter.name, parameter.default))
            for parameter in signature.parameters.values()
        ]
    )
    # KFP looks at all callers each time a task is set and, where they are no files (in a notebook),
    # at all modules: 20 s with TensorFlow loaded. In a thread of its own it has few callers.
    with ThreadPoolExecutor(1) as thread:
        decorate = dsl.pipeline(name=name, description=pipeline.description)
        return thread.submit(decorate, traced).result()
