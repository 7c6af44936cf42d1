"""Validate the whole spec, then bring a source into a dataset folder."""

from kfp.dsl import Dataset, Output

from components.component import component


@component
def prepare(
    dataset_folder: Output[Dataset],
    pipeline: str,
    model: str,
    dataset: str,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    seed: int,
    augment: int,
    image_size_pixels: int,
    sequence_length: int,
    checkpoint_seconds: float,
    workers: int,
    max_workers: int,
    min_workers: int,
    batch: str,
    max_batch_size: int,
    objective: str,
    budget_usd: str,
    deadline: str,
    allow_listed: bool,
    virtual_shards: int,
    deterministic: bool,
    collective: str,
    isolated_network: bool,
    machine_type: str,
    queue_seconds: float,
    candidates: str,
    baseline: str,
    tuning_epochs: float,
    promote: bool,
    promote_margin: float,
    max_model_bytes: int,
    max_latency_seconds: float,
    max_usd_per_million: float,
    snapshot: str,
    retrain: str,
    start: str,
) -> dict:
    """Validate all parameters, then turn the source into memory-mapped shards, reused by content.

    Returns the validated spec, which the later steps take whole; `nothing_new` in it ends them.
    """
    from tally.steps.image import require

    require("prepare")
    from tally.steps.artifacts import leave_dataset
    from tally.steps.prepare import run

    values = {
        "model": model,
        "dataset": dataset,
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "seed": seed,
        "augment": augment,
        "image_size_pixels": image_size_pixels,
        "sequence_length": sequence_length,
        "checkpoint_seconds": checkpoint_seconds,
        "workers": workers,
        "max_workers": max_workers,
        "min_workers": min_workers,
        "batch": batch,
        "max_batch_size": max_batch_size,
        "objective": objective,
        "budget_usd": budget_usd,
        "deadline": deadline,
        "allow_listed": allow_listed,
        "virtual_shards": virtual_shards,
        "deterministic": deterministic,
        "collective": collective,
        "isolated_network": isolated_network,
        "machine_type": machine_type,
        "queue_seconds": queue_seconds,
        "candidates": candidates,
        "baseline": baseline,
        "tuning_epochs": tuning_epochs,
        "promote": promote,
        "promote_margin": promote_margin,
        "max_model_bytes": max_model_bytes,
        "max_latency_seconds": max_latency_seconds,
        "max_usd_per_million": max_usd_per_million,
        "snapshot": snapshot,
        "retrain": retrain,
        "start": start,
    }
    prepared = run(pipeline, values)
    leave_dataset(prepared.run, dataset_folder, prepared.folder, prepared.facts)
    return prepared.spec
