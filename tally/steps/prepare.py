"""prepare: validate the whole spec, then bring the source into a dataset folder."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tally import events
from tally.baselines import registry as baselines
from tally.compression.recipe import parse_all
from tally.data import registry
from tally.data.format import open_dataset
from tally.models import registry as models
from tally.runcontext import RunContext
from tally.spec import Spec, validate
from tally.steps.new_data import KEY, nothing_new, read_as_champion
from tally.steps.step import Step, step
from tally.tasks import registry as tasks


@dataclass(frozen=True)
class Prepared:
    """A run's dataset folder, what there is to know of it, and the validated spec."""

    run: RunContext
    folder: Path
    facts: dict[str, Any]
    spec: dict[str, Any]


def run(pipeline: str, values: Mapping[str, Any], whose: RunContext | None = None) -> Prepared:
    """The prepare step.

    Args:
        pipeline: its name, for errors.
        values: all parameters of the run.
        whose: the run, where that is known already.

    Raises:
        SystemExit: bad parameters, a source that cannot be read, a dataset that the model cannot
            take; told in the run's events.
    """
    with step("prepare", run=whose) as here:
        spec = validate(f"pipelines/{pipeline}", values)
        parse_all(spec.candidates)
        if folder := _begun_with(here):
            reused = True
        else:
            folder, reused, spec = _dataset(here, spec)
        dataset = open_dataset(folder)
        models.check(spec.model, dataset.meta)
        baselines.check(spec.baseline, dataset.meta)
        if words := tasks.keep_words(dataset.meta.task):
            here.measured({}, words=words)
        counts = {name: len(split) for name, split in dataset.splits.items()}
        facts = {
            "name": dataset.meta.name,
            "train_examples": counts["train"],
            "test_examples": counts["test"],
            "reused": reused,
            "fingerprint": dataset.fingerprint,
        }
        for sentence in dataset.said:
            here.event("note", message=f"{dataset.meta.name}: {sentence}")
        for what, count in dataset.left_out.items():
            here.event("note", message=f"{dataset.meta.name}: left out {count:,} {what}")
        validated: dict[str, Any] = spec.model_dump()
        why = ""
        if spec.retrain == "if-new-data":
            why = nothing_new(here.pipeline, dataset.meta.name, dataset.fingerprint)
        if why:
            validated[KEY] = why
            here.decided("nothing_new", message=why)
        total = sum(counts.values())
        here.event("progress", done=total, total=total, unit="examples", **facts)
    return Prepared(here.run, folder, facts, validated)


def _begun_with(here: Step) -> Path | None:
    """The dataset of a run that goes on, where today the same source would be read otherwise."""
    if here.attempt == 1:
        return None
    for event in events.read(here.folder):
        if event["event"] == "progress" and "fingerprint" in event:
            return registry.made_before(event["fingerprint"])
    return None


def _dataset(here: Step, spec: Spec) -> tuple[Path, bool, Spec]:
    """The dataset folder, whether it existed already, and the spec that it was read by."""
    folder, reused = registry.prepare(spec, progress=_progress(here))
    if spec.start == "champion":
        asked, spec = spec, read_as_champion(spec, here.pipeline, open_dataset(folder).meta)
        if spec != asked:
            folder, reused = registry.prepare(spec, progress=_progress(here))
    return folder, reused, spec


def _progress(here: Step) -> Callable[[int, int], None]:
    last = 0.0

    def report(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last >= 0.2:
            last = time.monotonic()
            here.event("progress", done=done, total=total, unit="examples")

    return report
