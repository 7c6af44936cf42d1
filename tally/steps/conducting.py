"""A training's conductor set up, and ended: its coordinator, its gang, what it is told through."""

import contextlib
import json
import queue
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tally import storage
from tally.costing.quotes import GANG
from tally.gang import messages as say
from tally.gang.coordinator.server import Coordinator
from tally.gang.gang import Gang
from tally.gang.known import Asked, Sizing, State, Stop
from tally.steps.conductor import Conductor
from tally.steps.limiting import Limiter
from tally.steps.scaling import Scaler
from tally.steps.spending import Looking
from tally.steps.step import Step
from tally.steps.wishes import Wishes

END_SECONDS = 2.0  # for workers to leave once all is done


@dataclass(frozen=True, kw_only=True)
class Where:
    """Where a gang is.

    Attributes:
        host: where the coordinator listens.
        dataset_folder: where workers fetch the dataset's files from the coordinator.
        queue_seconds: how long nobody of the gang may have a place to run.
        machine_type: of the gang's workers: of the catalogue, "local" for processes here, "" for
            pods of none.
    """

    host: str = "127.0.0.1"
    dataset_folder: Path | None = None
    queue_seconds: float = 0.0
    machine_type: str = ""


HERE = Where()


def conduct(
    here: Step,
    config: say.WorkerConfig,
    workers: int,
    token: bytes,
    make_gang: Callable[[str], Gang],
    where: Where = HERE,
    *,
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
        where: the gang is.
        limiter: says when to stop because of the budget or the deadline; None without limits.
        scaler: asks which size pays; None where the size stays as it is asked for.

    Raises:
        LimitReached: the budget or the deadline was; the gang has saved its state.
        RunError: workers died again and again, or training failed.
        SpecError: it was given bad input.
        SystemExit: this step was told to end, and the gang has saved its state.
    """
    happened: queue.SimpleQueue[Any] = queue.SimpleQueue()
    with Ending(here.folder / "conductor.json", happened) as ending:
        coordinator = ending.coordinator = Coordinator(
            token,
            config.as_json(),
            happened.put,
            host=where.host,
            workers=workers,
            dataset_folder=where.dataset_folder,
        )
        gang = ending.gang = make_gang(coordinator.address)
        _tell(ending.control, coordinator.address, token)
        state = _state(here, config, workers, where, scaler)
        ending.hear_of_money_and_wishes(here, limiter)
        gang.watch(happened.put)
        gang.start(workers)
        here.event(GANG, workers=workers, max_workers=config.max_workers)
        conductor = ending.conductor = Conductor(here, config, state, coordinator, gang, happened)
        conductor.limiter, conductor.scaler = limiter, scaler
        conductor.run()
    return conductor.result()


def _tell(control: Path, address: str, token: bytes) -> None:
    """Write down where the coordinator is, for whoever may resize the gang."""
    facts = {"schema": 1, "address": address, "token": token.decode()}
    storage.write_secret(control, json.dumps(facts).encode())


def _state(
    here: Step, config: say.WorkerConfig, workers: int, where: Where, scaler: Scaler | None
) -> State:
    """What the rules begin with."""
    asked = Asked(
        run_id=here.run_id,
        max_workers=config.max_workers,
        queue_seconds=where.queue_seconds,
        rebatches=config.largest_batch > 0,
    )
    sizing = Sizing(batch_size=scaler.batch_size) if scaler else None
    return State(asked=asked, target=workers, machine_types=(where.machine_type,), sizing=sizing)


class Ending:
    """The one place that ends a training, however far it came and whatever has ended it.

    Inside it SIGTERM is something that happens; after it, it is the step's again.

    Attributes:
        control: the file that says where the coordinator is.
        coordinator, gang, looking, wishes, conductor: what there is of them to end.
    """

    coordinator: Coordinator | None = None
    gang: Gang | None = None
    looking: Looking | None = None
    wishes: Wishes | None = None
    conductor: Conductor | None = None

    def __init__(self, control: Path, happened: "queue.SimpleQueue[Any]") -> None:
        """Nothing is there yet.

        Args:
            control: the file that will say where the coordinator is.
            happened: hears of SIGTERM.
        """
        self.control, self._happened = control, happened

    def __enter__(self) -> "Ending":
        self._former = signal.signal(signal.SIGTERM, lambda *_: self._happened.put(Stop()))
        return self

    def hear_of_money_and_wishes(self, here: Step, limiter: Limiter | None) -> None:
        """Begin to look at what is spent, and at what the meter's clients want."""
        put = self._happened.put
        self.looking = Looking(limiter.account, put) if limiter else None
        self.wishes = Wishes(here.run_id, put) if here.outbox is not None else None

    def __exit__(self, *error: object) -> None:
        """End what there is, from the coordinator on, each whatever became of those before."""
        early = self.conductor is not None and not self.conductor.finished
        with contextlib.ExitStack() as last_first:
            last_first.callback(signal.signal, signal.SIGTERM, self._former)
            for thread in (self.wishes, self.looking):
                if thread:
                    last_first.callback(thread.stop)
            last_first.callback(self.control.unlink, missing_ok=True)
            if self.conductor:
                last_first.callback(self.conductor.close)
            if self.gang:
                last_first.callback(self.gang.stop, 0.0 if early else END_SECONDS)
            if self.coordinator:
                last_first.callback(self.coordinator.close)
