"""train: the conductor's step. It sets the coordinator and the gang up, and conducts them.

In a pod the gang is one of pods, and what it keeps goes to TALLY_STORE. A pod without Kubeflow
trains by `python -m tally.steps.train NAME=VALUE …`, the parameters as for `make submit`; it says
TALLY_RUN_ID, and in TALLY_POD its own name.
"""

import functools
import os
import secrets
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tally import clock, storage
from tally.costing.ledger import open_ledger
from tally.costing.plan import LOCAL, Plan
from tally.costing.runs import RunRecord
from tally.data.format import Dataset, open_dataset
from tally.errors import SpecError, TallyError
from tally.gang.gang import Gang
from tally.gang.local_gang import LocalGang
from tally.gang.messages import Finished, WorkerConfig
from tally.kube.here import in_cluster
from tally.learning import checkpoint, output, state
from tally.learning.dataset_copy import COORDINATOR
from tally.machines.catalogue import machine
from tally.runcontext import RunContext
from tally.spec import Spec, parse_settings
from tally.steps import artifacts
from tally.steps.conducting import Where, conduct
from tally.steps.limiting import Limiter
from tally.steps.lost_work import count_lost_work
from tally.steps.new_data import champion_weights, passed
from tally.steps.remembering import remember
from tally.steps.scaling import scaler_of
from tally.steps.spending import account_of, limits_of
from tally.steps.step import Step, step
from tally.steps.worker_size import worker_size


@dataclass(frozen=True)
class Trained:
    """A run's folder with the model, and what there is to know of the training."""

    run: RunContext
    folder: Path
    facts: dict[str, float]


def run(
    dataset_folder: str,
    spec: dict[str, Any],
    plan: Mapping[str, Any] | None = None,
    whose: RunContext | None = None,
) -> Trained:
    """The train step.

    Args:
        dataset_folder: from prepare.
        spec: the validated parameters.
        plan: from the plan step; without one the gang is as the parameters say.
        whose: the run, where that is known already.

    Raises:
        SystemExit: training failed or was ended; told in the run's events.
    """
    with step("train", cores=0, counts_lives=True, run=whose) as here:
        if why := passed(spec):
            return _nothing(here, why)
        asked = Spec.model_validate(spec)
        known = Plan.from_json(plan) if plan else None
        if known:
            asked = planned(asked, known)
        dataset = open_dataset(artifacts.dataset_folder(dataset_folder), verify=["train"])
        trained = _with_pods if here.run.in_pod else _with_processes
        finished = trained(here, asked, dataset, known)
        facts = {
            "examples_trained": finished.examples_trained,
            "train_loss": finished.loss,
            "train_seconds": finished.seconds,
        } | {f"train_{name}": value for name, value in finished.figures.items()}
        here.measured({}, examples_trained=finished.examples_trained)
        remember(here, asked, dataset, finished)
    return Trained(here.run, here.folder / "model", facts)


def _nothing(here: Step, why: str) -> Trained:
    """What is left where there is nothing to train on: a word instead of a model."""
    folder = here.folder / "model"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "nothing-new.txt").write_text(f"{why}\n")
    return Trained(here.run, folder, {})


def planned(asked: Spec, plan: Plan) -> Spec:
    """What was asked for, with the size and the machine type that the plan begins with."""
    machine_type = "" if plan.machine_type == LOCAL else plan.machine_type
    return asked.model_copy(
        update={
            "workers": plan.workers,
            "max_workers": plan.max_workers,
            "machine_type": machine_type,
        }
    )


def _with_processes(here: Step, asked: Spec, dataset: Dataset, plan: Plan | None) -> Finished:
    """On this machine; a lone worker has all cores, those of a gang one each."""
    alone = asked.most_workers == 1 and not asked.deterministic
    config = WorkerConfig(
        **_same_everywhere(here, asked, dataset),
        dataset=str(dataset.folder),
        model_folder=str(here.folder / "model"),
        cores=0 if alone else 1,
        parent_pid=os.getpid(),
    )
    token = secrets.token_hex(32).encode()
    token_file = here.folder / f"token-{here.attempt}"
    storage.write_secret(token_file, token)

    def gang(address: str) -> Gang:
        return LocalGang({"TALLY_COORDINATOR": address, "TALLY_TOKEN_FILE": str(token_file)})

    try:
        batch = _go_on_from_checkpoint(here, config)
        limiter = _limiter(here, asked, in_pods=False)
        examples = len(dataset.splits["train"])
        return conduct(
            here,
            config,
            asked.workers,
            token,
            gang,
            Where(machine_type=LOCAL),
            limiter=limiter,
            scaler=scaler_of(here, asked, plan, limiter, LOCAL, examples, batch),
        )
    finally:
        token_file.unlink(missing_ok=True)


def _with_pods(here: Step, asked: Spec, dataset: Dataset, plan: Plan | None) -> Finished:
    """On the cluster of this pod; the model is brought here from the store."""
    if not os.environ.get("TALLY_STORE"):
        raise SpecError(
            "TALLY_STORE: expected a bucket or a volume that this pod shares with its workers, got "
            "none; set it to s3://…, gs://… or the volume's path"
        )
    from tally.kube import inside

    shape = machine(asked.machine_type).kubernetes if asked.machine_type else None
    model_folder = storage.store() / "runs" / here.run_id / "model"
    config = WorkerConfig(
        **_same_everywhere(here, asked, dataset),
        dataset=_place_of(dataset),
        model_folder=str(model_folder),
        cores=max(1, int(shape.cpu_cores)) if shape else 1,
    )
    token = secrets.token_hex(32).encode()
    make: Callable[..., Gang] = functools.partial(
        inside.gang_here,
        run_id=here.run_id,
        step=here.name,
        pipeline=here.pipeline,
        attempt=here.attempt,
        token=token,
        machine_type=asked.machine_type or None,
        size=worker_size(here, asked.machine_type),
    )
    batch, examples = _go_on_from_checkpoint(here, config), len(dataset.splits["train"])
    limiter, kind = _limiter(here, asked, in_pods=True), asked.machine_type
    finished = conduct(
        here,
        config,
        asked.workers,
        token,
        lambda address: make(coordinator=address),
        Where(
            host=inside.own_address(),
            dataset_folder=dataset.folder,
            queue_seconds=asked.queue_seconds,
            machine_type=kind,
        ),
        limiter=limiter,
        scaler=scaler_of(here, asked, plan, limiter, kind, examples, batch),
    )
    output.bring(model_folder, here.folder / "model")
    return finished


def _place_of(dataset: Dataset) -> str:
    """Where workers in other pods read it: in the store, else from the coordinator."""
    from tally.data import registry

    place, store = registry.published(dataset.folder), storage.store()
    shared = place != str(dataset.folder) or (
        isinstance(store, Path) and dataset.folder.is_relative_to(store)
    )
    return place if shared else COORDINATOR


def _limiter(here: Step, asked: Spec, *, in_pods: bool) -> Limiter | None:
    """Of the budget and the deadline, if there is one.

    Raises:
        LimitReached: nothing is left of them.
    """
    if asked.limit_usd is None and not asked.deadline:
        return None
    account = account_of(here, asked, in_pods)
    return Limiter(here, limits_of(asked, account), account)


def _same_everywhere(here: Step, asked: Spec, dataset: Dataset) -> dict[str, Any]:
    """What workers are to do wherever they run."""
    return {
        **asked.training(),
        "dataset_fingerprint": dataset.fingerprint,
        "checkpoint_folder": str(storage.checkpoint_folder(here.run_id)),
        "max_workers": asked.most_workers,
        "largest_batch": asked.largest_batch if asked.batch == "adaptive" else 0,
        "start_weights": _start_weights(here, asked, dataset),
    }


def _start_weights(here: Step, asked: Spec, dataset: Dataset) -> str:
    """Where the champion's weights are, if training is to begin with them."""
    if asked.start == "fresh":
        return ""
    found = champion_weights(here.pipeline, dataset.meta.name)
    if found is None:
        here.event("note", message="start=champion: there is no champion yet, so from new weights")
        return ""
    here.event("note", message=f"starts with the weights of champion {found[1].name}")
    return found[0]


def _go_on_from_checkpoint(here: Step, config: WorkerConfig) -> int:
    """Refuse another training's checkpoint before any worker is started; count what is redone.

    Returns:
        The global batch to go on with.
    """
    folder = storage.location(config.checkpoint_folder)
    found = checkpoint.latest(folder, lambda said: here.event("note", message=said))
    if found:
        checkpoint.require_same(found, state.spec(config), folder)
    if here.attempt > 1:
        count_lost_work(here, folder, here.attempt)
    return (found.position.batch_size if found else 0) or config.batch_size


def main() -> int:
    """Prepare and train, in a pod that is a whole run; the exit code."""
    try:
        _whole_run()
    except TallyError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def _whole_run() -> None:
    from tally.steps import prepare

    whose = RunContext.read()
    if in_cluster() and not (whose.in_pod or whose.submit_pid or os.environ.get("TALLY_GANG")):
        raise SpecError(
            "TALLY_POD: expected the name of this pod, whose workers are to be pods like it, got "
            "none; set it to the field metadata.name, or TALLY_GANG=local to train in this pod"
        )
    prepared = prepare.run("train", parse_settings(sys.argv[1:]), whose)
    record = RunRecord(
        id=whose.run_id,
        pipeline=whose.pipeline,
        state="running",
        engine="cluster",
        team="",  # of this pod's own ledger, as its rows are
        spec=prepared.spec,
        created_at_microseconds=clock.now_microseconds(),
        value_of_hour_usd=machine("local").value_of_hour_usd,
    )
    open_ledger().put_run(record)  # for `tally resize` and the other commands in this pod
    run(str(prepared.folder), prepared.spec, whose=whose)


if __name__ == "__main__":
    sys.exit(main())
