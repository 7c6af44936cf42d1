"""A training's conductor set up: its coordinator, its gang, and what it is told through."""

import json
import queue
import signal
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from tally import storage
from tally.costing.quotes import GANG
from tally.gang import messages as say
from tally.gang.coordinator.server import Coordinator
from tally.gang.gang import Gang
from tally.gang.known import Asked, State, Stop
from tally.steps.conductor import END_SECONDS, Conductor
from tally.steps.limiting import Limiter
from tally.steps.scaling import Scaler
from tally.steps.spending import Looking
from tally.steps.step import Step
from tally.steps.wishes import Wishes


def conduct(
    here: Step,
    config: say.WorkerConfig,
    workers: int,
    token: bytes,
    make_gang: Callable[[str], Gang],
    *,
    host: str = "127.0.0.1",
    dataset_folder: Path | None = None,
    queue_seconds: float = 0.0,
    machine_type: str = "",
    limiter: Limiter | None = None,
    scaler: Scaler | None = None,
) -> say.Finished:
    """Train with a gang to the end.

    Args:
        here: the train step.
        config: for every worker.
        workers: to begin with.
        token: the run's own, which the gang's workers were given.
        make_gang: the gang, from the coordinator's address.
        host: where the coordinator listens.
        dataset_folder: where workers fetch the dataset's files from the coordinator.
        queue_seconds: how long nobody of the gang may have a place to run.
        machine_type: of the gang's workers: of the catalogue, "local" for processes here, "" for
            pods of none.
        limiter: says when to stop because of the budget or the deadline; None without limits.
        scaler: says which size to change to; None where the size stays as it is asked for.

    Raises:
        LimitReached: the budget or the deadline was; the gang has saved its state.
        RunError: workers died again and again, or training failed.
        SpecError: it was given bad input.
        SystemExit: this step was told to end, and the gang has saved its state.
    """
    happened: queue.Queue[Any] = queue.Queue()
    signal.signal(signal.SIGTERM, _putting(happened))
    coordinator = Coordinator(
        token,
        config.as_json(),
        happened.put,
        host=host,
        workers=workers,
        dataset_folder=dataset_folder,
    )
    gang = make_gang(coordinator.address)
    control = here.folder / "conductor.json"
    facts = {"schema": 1, "address": coordinator.address, "token": token.decode()}
    storage.write_secret(control, json.dumps(facts).encode())
    looking = Looking(limiter.account, happened.put) if limiter else None
    wishes = Wishes(here.run_id, happened.put) if here.outbox is not None else None
    try:
        gang.watch(happened.put)
        gang.start(workers)
        here.event(GANG, workers=workers, max_workers=config.max_workers)
        asked = Asked(
            run_id=here.run_id,
            max_workers=config.max_workers,
            queue_seconds=queue_seconds,
            rebatches=config.largest_batch > 0,
            weighs=scaler is not None,
        )
        state = State(asked=asked, target=workers, machine_types=(machine_type,))
        conductor = Conductor(here, config, state, coordinator, gang)
        conductor.limiter, conductor.scaler = limiter, scaler
        return conductor.run(happened)
    finally:
        control.unlink(missing_ok=True)
        coordinator.close()
        gang.stop(END_SECONDS)
        if looking:
            looking.stop()
        if wishes:
            wishes.stop()


def _putting(happened: "queue.Queue[Any]") -> Callable[[int, FrameType | None], None]:
    return lambda number, frame: happened.put(Stop())
