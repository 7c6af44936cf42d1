"""train: the conductor's step. It sets the coordinator and the gang up, and conducts them."""

import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tally import storage
from tally.costing.ledger import open_ledger
from tally.data.format import Dataset, open_dataset
from tally.spec import Spec
from tally.steps import conductor
from tally.steps.lost_work import count_lost_work
from tally.steps.step import Step, step
from tally.training import checkpoint, state
from tally.training.local_gang import LocalGang
from tally.training.messages import WorkerConfig


@dataclass(frozen=True)
class Trained:
    """The folder with the model, and what there is to know of the training."""

    folder: Path
    facts: dict[str, float]


def run(dataset_folder: str, spec: dict[str, Any]) -> Trained:
    """The train step.

    Args:
        dataset_folder: from prepare.
        spec: the validated parameters.

    Raises:
        SystemExit: training failed or was ended; told in the run's events.
    """
    with step("train", cores=0) as here:
        asked = Spec.model_validate(spec)
        dataset = open_dataset(Path(dataset_folder), verify=["train"])
        config = _config(here, asked, dataset)
        _check_checkpoint(here, config)
        if here.attempt > 1:
            count_lost_work(here, storage.checkpoint_folder(here.run_id), here.attempt)
        token = secrets.token_hex(32).encode()
        token_file = here.folder / f"token-{here.attempt}"
        storage.write_secret(token_file, token)
        try:
            finished = conductor.conduct(
                here,
                config,
                asked.workers,
                token,
                lambda address: LocalGang(
                    {"TALLY_COORDINATOR": address, "TALLY_TOKEN_FILE": str(token_file)}
                ),
            )
        finally:
            token_file.unlink(missing_ok=True)
        facts = {
            "examples_trained": finished.examples_trained,
            "train_loss": finished.loss,
            "train_accuracy": finished.accuracy,
            "train_seconds": finished.seconds,
        }
        open_ledger().update_run(here.run_id, examples_trained=finished.examples_trained)
    return Trained(here.folder / "model", facts)


def _config(here: Step, asked: Spec, dataset: Dataset) -> WorkerConfig:
    """What the workers are to do: a lone one has all cores, those of a gang one each."""
    alone = asked.most_workers == 1 and not asked.deterministic
    return WorkerConfig(
        dataset=str(dataset.folder),
        dataset_fingerprint=dataset.fingerprint,
        model=asked.model,
        epochs=asked.epochs,
        batch_size=asked.batch_size,
        learning_rate=asked.learning_rate,
        seed=asked.seed,
        checkpoint_folder=str(storage.checkpoint_folder(here.run_id)),
        checkpoint_seconds=asked.checkpoint_seconds,
        model_folder=str(here.folder / "model"),
        virtual_shards=asked.virtual_shards,
        deterministic=asked.deterministic,
        max_workers=asked.most_workers,
        cores=0 if alone else 1,
        parent_pid=os.getpid(),
    )


def _check_checkpoint(here: Step, config: WorkerConfig) -> None:
    """Refuse to go on from another training's checkpoint, before any worker is started."""
    folder = storage.checkpoint_folder(here.run_id)
    found = checkpoint.latest(folder, lambda said: here.event("note", message=said))
    if found:
        checkpoint.require_same(found, state.spec(config), folder)
