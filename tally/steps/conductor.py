"""The conductor: it hears the coordinator and the gang, and keeps a training going to its end.

Everything that happens comes through one queue: what workers say, what became of their processes
or pods, and what was asked from outside. What to do about it the rules decide (gang/rules.py);
here it is written down, told to them, and done, one at a time.
"""

import contextlib
import math
import queue
import time
from typing import Any

from tally import storage
from tally.costing.spending import Spending
from tally.errors import RunError, SpecError, TallyError
from tally.gang import messages as say
from tally.gang import rules
from tally.gang.actions import (
    Action,
    Changed,
    Checkpoint,
    CountLost,
    Decided,
    EndLife,
    EndSoon,
    Enlarge,
    FinishMove,
    GiveUp,
    Gone,
    Have,
    Members,
    Move,
    Rebatch,
    Weigh,
    Work,
    Write,
)
from tally.gang.coordinator import events as heard
from tally.gang.coordinator.server import Coordinator
from tally.gang.gang import Gang, WorkerChange
from tally.gang.known import Enlarged, Input, Look, Moved, State, Weighed
from tally.steps import limiting, saying
from tally.steps.limiting import Limiter
from tally.steps.lost_work import count_lost_work
from tally.steps.scaling import Scaler
from tally.steps.step import TERMINATED, Step
from tally.steps.worker_rows import rows_of


class Conductor:
    """Tells the rules what happens to its gang, and does what they say.

    Attributes:
        limiter: says when to stop because of budget or deadline, if there is one.
        scaler: asks the policy which size pays, if the size is Tally's to choose.
    """

    limiter: Limiter | None = None
    scaler: Scaler | None = None

    def __init__(
        self,
        here: Step,
        config: say.WorkerConfig,
        state: State,
        coordinator: Coordinator,
        gang: Gang,
        happened: "queue.SimpleQueue[Any]",
    ) -> None:
        """Nothing has happened yet.

        Args:
            here: the train step.
            config: for every worker.
            state: what the rules begin with.
            coordinator: of the gang.
            gang: that runs.
            happened: where all that happens comes from.
        """
        self._here, self._config, self._state = here, config, state
        self._coordinator, self._gang, self._happened = coordinator, gang, happened
        self._rows = rows_of(here, config.cores)

    def run(self) -> None:
        """Handle what happens until the training is over; then it is to be closed."""
        while (wait := self._look()) is not None:
            with contextlib.suppress(queue.Empty):
                self._handle(self._happened.get(timeout=None if wait == math.inf else wait))

    @property
    def finished(self) -> bool:
        """Whether the training has come to its own end."""
        return self._state.over is not None and self._state.over.finished is not None

    def close(self) -> None:
        """Write down what is still to be heard: the ends of the workers, their last checkpoint."""
        while not self._happened.empty():
            match event := self._happened.get():
                case WorkerChange():
                    self._rows.change(event, replacement=True)
                case heard.Told() if isinstance(said := say.decode(event.line), say.Saved):
                    self._said(said)
        self._rows.end()
        if self.scaler:
            self.scaler.ended()

    def result(self) -> say.Finished:
        """Of a training that is over and closed.

        Raises:
            LimitReached: the budget or the deadline was; the gang has saved its state.
            RunError: workers died again and again, or training failed.
            SpecError: it was given bad input.
            SystemExit: this step was told to end, and the gang has saved its state.
        """
        over = self._state.over
        if over is None or over.why == "told":
            raise SystemExit(TERMINATED)
        if over.why == "limit" and self.limiter:
            raise self.limiter.stop()
        if over.finished is None:
            raise (SpecError if over.why == "bad input" else RunError)(over.message)
        return over.finished

    def _look(self) -> float | None:
        """Let the rules see that time passes; seconds until the next look, None once it is over."""
        self._tell(Look(limiting.due(self.limiter)))
        if self._state.over is not None:
            return None
        wait = rules.wake_seconds(self._state) - time.monotonic()
        if self._state.stopping is None:
            wait = min(wait, limiting.due(self.limiter))
        return max(0.0, wait)

    def _handle(self, event: Any) -> None:
        match event:
            case WorkerChange():
                self._rows.change(event, replacement=self._state.replaces(event.worker))
                self._tell(event)
                if self.limiter:
                    self.limiter.account.held(self._state.held)
            case heard.Told():
                if (message := say.decode(event.line)) is not None:
                    self._said(message)
            case heard.Observed():
                self._tell(event)
                self._rows.waited(event.worker, event.observation)
                if self.scaler:
                    self.scaler.observed(event.observation)
            case Spending():
                if self.limiter:
                    self.limiter.spent(event)
            case _:
                self._tell(event)

    def _said(self, message: say.Message) -> None:
        if self.limiter:
            self.limiter.progressed(message)
        if self.scaler:
            self.scaler.said(message)
        self._tell(message)
        saying.write(self._here, message)

    def _tell(self, told: Input) -> None:
        """Tell the rules, and do what they say."""
        self._state, actions = rules.decide(self._state, time.monotonic(), told)
        for action in actions:
            self._do(action)

    def _do(self, action: Action) -> None:
        match action:
            case Write(kind, fields):
                self._here.event(kind, **fields)
            case Work():
                self._work(action)
            case CountLost():
                self._here.recorder.flush()
                folder = storage.location(self._config.checkpoint_folder)
                count_lost_work(self._here, folder, self._here.attempt + 1)
            case Gone(worker, uid):
                self._coordinator.gone(worker, uid)
            case Members(workers):
                self._coordinator.resize(workers)
            case Rebatch(batch_size):
                self._coordinator.rebatch(batch_size)
            case Checkpoint():
                self._coordinator.stop()
            case Have(workers):
                self._gang.resize(workers)
            case EndLife(worker, uid):
                self._gang.end(worker, uid)
            case FinishMove():
                self._gang.finish_move()
            case EndSoon():
                self._gang.end_soon()
            case Move() | Enlarge() | Weigh():
                self._tell(self._answer(action))
            case Decided() | Changed() | GiveUp() if self.scaler:
                self.scaler.do(action)

    def _answer(self, action: Move | Enlarge | Weigh) -> Input:
        """Do what the rules have to know the outcome of."""
        match action:
            case Weigh(change, size):
                return Weighed(self.scaler.weigh(size) if self.scaler else None, change, size)
            case Move(machine_type, workers):
                try:
                    self._gang.move(machine_type, workers)
                except TallyError as error:
                    return Moved(machine_type, workers, str(error))
                return Moved(machine_type, workers)
            case Enlarge(change, workers):
                try:
                    return Enlarged(change, self._gang.enlarge(workers))
                except TallyError as error:
                    return Enlarged(change, 0, str(error))

    def _work(self, work: Work) -> None:
        """A generation begins."""
        formed = work.formed
        self._rows.work(formed.workers, formed.generation)
        self._here.event(
            "generation",
            generation=formed.generation,
            workers=list(formed.workers),
            donor=formed.donor,
            fresh=formed.fresh,
        )
        if self.scaler and work.size:
            self.scaler.formed(work.size)
