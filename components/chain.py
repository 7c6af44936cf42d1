"""The chain that most pipelines are: prepare → plan → train → evaluate, and always the bill."""

import inspect
from collections.abc import Mapping
from typing import Any

from kfp import dsl
from kfp.dsl.base_component import BaseComponent

from components.bill import bill
from components.evaluate import evaluate
from components.place import Place, put
from components.plan import plan
from components.prepare import prepare
from components.train import train
from tally.errors import SpecError
from tally.spec import Spec, describe, refuse_secret, validate

STEPS = ("prepare", "plan", "train", "evaluate", "bill")


def chain(
    name: str, description: str, *, places: Mapping[str, Place] | None = None, **defaults: Any
) -> BaseComponent:
    """A KFP pipeline whose parameters are those of tally.spec.Spec.

    Args:
        name: the pipeline's, in Kubeflow and on the bill.
        description: for the Kubeflow UI; its first paragraph is enough.
        places: where a step runs on a cluster, by step; the others where there is room.
        defaults: what this pipeline presets, by parameter.

    Raises:
        SpecError: a preset is unknown, out of bounds, or looks like a secret; no such step.
    """
    for step in places or {}:
        if step not in STEPS:
            raise SpecError(
                f"pipelines/{name}: expected places of {', '.join(STEPS)}, got {step}; correct it"
            )
    for parameter in Spec.model_fields:
        refuse_secret(parameter)
    values = validate(f"pipelines/{name}", defaults).model_dump()

    def body(*arguments: Any) -> None:
        billed = bill()
        billed.set_caching_options(False)
        with dsl.ExitHandler(billed, name="run"):
            prepared = prepare(pipeline=name, **dict(zip(values, arguments, strict=True)))
            folder, spec = prepared.outputs["dataset_folder"], prepared.outputs["Output"]
            planned = plan(dataset_folder=folder, spec=spec)
            trained = train(dataset_folder=folder, spec=spec, plan=planned.outputs["Output"])
            measured = evaluate(dataset_folder=folder, spec=spec, model=trained.outputs["model"])
            for task in (prepared, planned, trained, measured):
                # KFP's cache key holds a source's URL, not its content; prepare reuses by content.
                task.set_caching_options(False)
        for task in (prepared, planned, trained, measured, billed):
            if place := (places or {}).get(task.name):
                put(task, place)

    # KFP reads a pipeline's parameters off its function: give it the spec's, so that names,
    # types, defaults and descriptions stand in one place only.
    body.__name__ = name.replace("-", "_")
    body.__doc__ = "\n".join(
        [description.strip(), "", "Args:", *(f"    {field}: {describe(field)}" for field in values)]
    )
    body.__signature__ = _signature(values)  # type: ignore[attr-defined]
    return dsl.pipeline(name=name, description=description.strip())(body)


def _signature(values: Mapping[str, Any]) -> inspect.Signature:
    """One parameter for each, of its type, with it as the default."""
    return inspect.Signature(
        [
            inspect.Parameter(
                field,
                inspect.Parameter.POSITIONAL_OR_KEYWORD,
                default=value,
                annotation=type(value),
            )
            for field, value in values.items()
        ]
    )
