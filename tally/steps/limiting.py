"""The end of a training that would exceed its budget or its deadline: when, and what it says."""

import math
from collections import deque
from dataclasses import replace

from tally import clock
from tally.costing.spending import SAVING_SECONDS, Kind, Limits, Remaining, Spending, stop_words
from tally.errors import RunError
from tally.gang import messages as say
from tally.steps.spending import Account
from tally.steps.step import Step

LONGEST_SAVE_SECONDS = 60.0  # what seems more is another machine's clock
RECENT = 50  # messages of progress, that speed is measured over


class LimitReached(RunError):
    """Training stopped at the run's budget or deadline; a resume with a higher one goes on."""


class Limiter:
    """Knows when to stop; `spent` and `progressed` keep it informed."""

    def __init__(self, here: Step, limits: Limits, account: Account) -> None:
        """Reads the account once.

        Args:
            here: the train step.
            limits: of the run.
            account: of the run.

        Raises:
            LimitReached: nothing is left for any training.
        """
        self._here, self.limits, self.account = here, limits, account
        self._begun = clock.now_microseconds()
        self._first: int | None = None  # when the first step was done
        self._recent: deque[tuple[int, int]] = deque(maxlen=RECENT)
        self._done = self._total = 0
        self.saved = False
        self.spending = account.read()
        if self.seconds_left()[0] <= 0:
            raise self.stop()

    def spent(self, spending: Spending) -> None:
        """The account was read."""
        self.spending = spending

    def progressed(self, message: say.Message) -> None:
        """A worker said something."""
        match message:
            case say.Progress():
                now = clock.now_microseconds()
                self._first = self._first or now
                self._recent.append((now, message.done_examples))
                self._done, self._total = message.done_examples, message.total_examples
            case say.Stopped():
                self._done = max(self._done, message.examples_trained)
            case say.Saved():
                self.saved = True
                took = (clock.now_microseconds() - message.saved_at_microseconds) / 1e6
                longest = max(SAVING_SECONDS, 1.5 * min(took, LONGEST_SAVE_SECONDS))
                self.limits = replace(self.limits, saving_seconds=longest)

    def seconds_left(self) -> tuple[float, Kind]:
        """Until the order to stop has to be given, and because of what; infinity for never."""
        return self.limits.seconds_left(self.spending, clock.now_microseconds())

    def remaining(self) -> Remaining:
        """What is left of the training, as fast as it went of late."""
        rate = 0.0
        if len(self._recent) > 1:
            (began, first), (ended, last) = self._recent[0], self._recent[-1]
            rate = 1e6 * (last - first) / max(1, ended - began)
        begun = self._first or clock.now_microseconds()
        return Remaining(
            done_examples=self._done,
            total_examples=self._total,
            examples_per_second=max(0.0, rate),
            usd_per_hour=self.spending.usd_per_hour,
            starting_seconds=(begun - self._begun) / 1e6,
        )

    def stop(self) -> LimitReached:
        """The error that ends the run, and in its events why."""
        kind = self.seconds_left()[1]
        spent, left = self.spending.usd_at(clock.now_microseconds()), self.remaining()
        known = left.usd is not None
        self._here.decided(
            "stopped",
            reason=kind,
            budget_usd=self.limits.budget_usd,
            spent_usd=spent,
            remaining_examples=left.examples,
            remaining_hours=left.seconds / 3600 if known and left.seconds else None,
            remaining_usd=left.usd,
        )
        words = stop_words(kind, self.limits, spent, left, self._here.run_id, self.saved)
        return LimitReached(words)


def due(limiter: Limiter | None) -> float:
    """Seconds until a training has to stop; infinity without limits."""
    return limiter.seconds_left()[0] if limiter else math.inf
