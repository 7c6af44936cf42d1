"""A retraining without new data ends before it trains: prepare says so, later steps pass."""

from collections.abc import Mapping
from typing import Any

from tally.data.content import Meta
from tally.errors import DataError
from tally.evaluation.registry import Registry, Version, model_name
from tally.spec import Spec

KEY = "nothing_new"


def nothing_new(pipeline: str, dataset_name: str, fingerprint: str) -> str:
    """Why there is nothing to train on, in one line; "" where there is.

    A registry that is damaged is no reason not to train.

    Args:
        pipeline: the run's.
        dataset_name, fingerprint: of the data of now.
    """
    model = model_name(pipeline, dataset_name)
    try:
        champion = Registry().champion(model)
    except DataError:
        return ""
    if not champion or champion.lineage["dataset"]["fingerprint"] != fingerprint:
        return ""
    return f"the champion of {model}, {champion.name}, was trained on the same data"


def read_as_champion(spec: Spec, pipeline: str, meta: Meta) -> Spec:
    """The spec with what it leaves to the data as it was decided for the champion's.

    Args:
        spec: of a run that begins with the champion's weights.
        pipeline: the run's.
        meta: of its data, read as that data itself would have it.
    """
    champion = Registry().champion(model_name(pipeline, meta.name))
    decided = champion.lineage["dataset"].get("reading", {}) if champion else {}
    return spec if decided == meta.reading else spec.read_as(decided)


def champion_weights(pipeline: str, dataset_name: str) -> tuple[str, Version] | None:
    """Where the champion's weights are, to start from; None without a champion."""
    from tally.learning.checkpoint import WEIGHTS

    registry, model = Registry(), model_name(pipeline, dataset_name)
    champion = registry.champion(model)
    if champion is None:
        return None
    return str(registry.place / model / "versions" / champion.name / WEIGHTS), champion


def passed(spec: Mapping[str, Any]) -> str:
    """Why a step has nothing to do; "" where it has."""
    return str(spec.get(KEY, ""))
