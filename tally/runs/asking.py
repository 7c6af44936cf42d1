"""What is asked of a run that runs on this machine: its end, or another number of workers."""

import json
import os
import signal
import time

from tally import events, storage
from tally.costing.runs import RunRecord
from tally.errors import RunError, SpecError
from tally.machines.catalogue import machine
from tally.runs.identity import living_owner
from tally.spec import Spec

CANCEL_SECONDS = 10.0
_POLL_SECONDS = 0.1


def cancel(run: RunRecord) -> None:
    """Ask the submit that owns a run to end it, and wait until it has.

    Raises:
        SpecError: nobody is running it.
        RunError: it has not ended in time.
    """
    pid = living_owner(run.owner) if run.state == "running" else None
    if pid is None:
        raise SpecError(
            f"run {run.id}: expected one that is running, got {run.state}; see `make runs`"
        )
    events.write(storage.run_folder(run.id), run.attempt, "submit", "cancel")
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + CANCEL_SECONDS
    while living_owner(run.owner) is not None:
        if time.monotonic() > deadline:
            raise RunError(
                f"run {run.id}: expected its end in {CANCEL_SECONDS:.0f} s, got none; kill {pid}"
            )
        time.sleep(_POLL_SECONDS)


def resize(run: RunRecord, workers: int, machine_type: str = "") -> None:
    """Ask the conductor of a run that trains for another number of workers.

    Args:
        run: it trains.
        workers: how many from now on.
        machine_type: another one of the catalogue, for workers that are pods.

    Raises:
        SpecError: it does not train now, or may not have so many.
        RunError: its conductor does not answer.
    """
    if machine_type and run.engine == "local":
        raise SpecError(
            f"run {run.id}: expected no machine type for workers on this machine, got "
            f"{machine_type}; leave --machine out"
        )
    if machine_type:
        machine(machine_type)
    try:
        control = json.loads((storage.run_folder(run.id) / "conductor.json").read_text())
    except OSError as error:
        raise SpecError(
            f"run {run.id}: expected one that trains, got {run.state}; see `make runs`"
        ) from error
    most = Spec.model_validate(run.spec).most_workers
    if not 1 <= workers <= most:
        raise SpecError(
            f"run {run.id}: expected 1 to {most} workers (max_workers), got {workers}; "
            f'submit with SET="max_workers={max(workers, 1)}"'
        )
    from tally.gang.coordinator.resizing import ask_resize

    ask_resize(control["address"], control["token"].encode(), workers, machine_type)
