"""How fast a gang goes, size by size, out of what its workers say of their progress. Pure.

Times are seconds of any one clock.
"""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

from tally.scaling.sizes import Offer, Size, slowest
from tally.scaling.stepfit import Observation

SETTLE_SECONDS = 1.0  # of a generation: its first steps are slow for reasons of their own
LEAST_SECONDS = 3.0  # of steps before their speed counts
WINDOW_SECONDS = 30.0
WEIGHT_SECONDS = 10.0  # of steps that weigh as much as a profile's row
MOST_WEIGHT = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """What a size was measured to do.

    Attributes:
        example_seconds: of an example of the whole gang, everything included.
        sync_seconds: of a step; None for one worker.
        over_seconds: measured for so long.
    """

    example_seconds: float
    sync_seconds: float | None
    over_seconds: float


class Running:
    """The sizes that a run has had, each with its latest speed."""

    def __init__(self) -> None:
        """Nothing runs yet."""
        self.now: Size | None = None
        self.speeds: dict[Size, Speed] = {}
        self.first_step_at: float | None = None  # of the present generation
        self._formed_at = 0.0
        self._window: deque[tuple[float, int]] = deque()
        self._syncs: deque[float] = deque(maxlen=100)

    def formed(self, at: float, size: Size) -> None:
        """A generation of this size begins."""
        self.now, self._formed_at, self.first_step_at = size, at, None
        self._window.clear()
        self._syncs.clear()

    def progressed(self, at: float, done_examples: int) -> None:
        """So many examples are in the weights."""
        if self.now is None:
            return
        self.first_step_at = self.first_step_at or at
        if at < self.first_step_at + SETTLE_SECONDS:
            return
        window = self._window
        if window and done_examples < window[-1][1]:
            window.clear()  # some of it is done again
        window.append((at, done_examples))
        while at - window[0][0] > WINDOW_SECONDS:
            window.popleft()
        (begun, first), seconds = window[0], at - window[0][0]
        if seconds >= LEAST_SECONDS and done_examples > first:
            sync = median(self._syncs) if self._syncs and self.now.workers > 1 else None
            self.speeds[self.now] = Speed(
                example_seconds=(at - begun) / (done_examples - first),
                sync_seconds=sync,
                over_seconds=seconds,
            )

    def synced(self, seconds: float) -> None:
        """A worker waited so long for the others in a step."""
        if math.isfinite(seconds) and seconds >= 0:
            self._syncs.append(seconds)

    @property
    def settled(self) -> bool:
        """Whether the present size has a speed of this generation."""
        window = self._window
        return bool(window) and window[-1][0] - window[0][0] >= LEAST_SECONDS

    def observations(self, offer: Offer, shards: int | None) -> list[Observation]:
        """Of one machine type, a row a size.

        Args:
            offer: of the machine type.
            shards: virtual shards that workers take whole; None: any part of a batch.
        """
        found = []
        for size, speed in self.speeds.items():
            part = slowest(offer, size.workers, size.batch_size, shards)
            if size.machine_type == offer.machine_type and part is not None:
                step = speed.example_seconds * size.batch_size
                sync = None if speed.sync_seconds is None else min(speed.sync_seconds, step)
                weight = min(MOST_WEIGHT, max(1.0, speed.over_seconds / WEIGHT_SECONDS))
                found.append(
                    Observation(
                        workers=size.workers,
                        nodes=offer.nodes(size.workers),
                        examples_per_worker=part[0],
                        accumulation=part[1],
                        step_seconds=step,
                        sync_seconds=sync,
                        weight=weight,
                    )
                )
        return found


def joined(planned: Sequence[Observation], seen: Sequence[Observation]) -> list[Observation]:
    """Rows of a profile and of the run itself: the run's own count where it has them.

    A machine is faster or slower than when it was profiled; the profile's other rows are brought
    to the run's pace by what the sizes that both have say.
    """
    own = {(row.workers, row.examples_per_worker): row for row in seen}
    ratios = [
        found.step_seconds / row.step_seconds
        for row in planned
        if (found := own.get((row.workers, row.examples_per_worker)))
    ]
    pace = median(ratios) if ratios else 1.0
    others = [
        replace(
            row,
            step_seconds=row.step_seconds * pace,
            sync_seconds=None if row.sync_seconds is None else row.sync_seconds * pace,
        )
        for row in planned
        if (row.workers, row.examples_per_worker) not in own
    ]
    return [*others, *seen]
