"""A retraining without new data ends before it trains: prepare says so, later steps pass."""

from collections.abc import Mapping
from typing import Any

from tally.errors import DataError
from tally.evaluation.registry import Registry, Version, model_name

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


def champion_weights(pipeline: str, dataset_name: str) -> tuple[str, Version] | None:
    """Where the champion's weights are, to start from; None without a champion."""
    from tally.learning.tensorflow.predict import WEIGHTS

    registry, model = Registry(), model_name(pipeline, dataset_name)
    champion = registry.champion(model)
    if champion is None:
        return None
    return str(registry.place / model / "versions" / champion.name / WEIGHTS), champion


def passed(spec: Mapping[str, Any]) -> str:
    """Why a step has nothing to do; "" where it has."""
    return str(spec.get(KEY, ""))
