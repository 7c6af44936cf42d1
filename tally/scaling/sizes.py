"""The sizes that can be had, and what a stretch of training takes at each of them. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tally.errors import SpecError
from tally.gang.gang import Size
from tally.scaling.forecast import CASES, NoiseForecast
from tally.scaling.goodput import efficiency
from tally.scaling.residuals import corrected
from tally.scaling.stepfit import Fitted, Observation

__all__ = ["Floats", "Offer", "Size", "Sizes", "noise_table", "slowest", "tabulate"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A machine type that can be had.

    Attributes:
        machine_type: its name in the catalogue.
        price_usd_per_hour: of one worker: hardware and software, the spot price if spot.
        fixed_usd_per_hour: of any number of workers: a machine that they share; the value of time
            where a budget counts it.
        interruptions_per_hour: of one worker; 0 where nobody takes it away.
        min_workers: the fewest.
        max_workers: the most that user and quota allow.
        counts: the numbers of workers that can be had between them; empty: all.
        workers_per_node: None: all on one machine.
        least_examples: a worker may compute a pass.
        most_examples: a worker's memory holds a pass; more are accumulated. None: no limit known.

    Raises:
        SpecError: a price or a rate below 0, fewer than 1 worker, min above max, no count left.
    """

    machine_type: str
    price_usd_per_hour: float
    fixed_usd_per_hour: float = 0.0
    interruptions_per_hour: float = 0.0
    min_workers: int = 1
    max_workers: int
    counts: tuple[int, ...] = ()
    workers_per_node: int | None = None
    least_examples: int = 1
    most_examples: int | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.min_workers <= self.max_workers:
            raise SpecError(
                f"{self.machine_type}: expected 1 or more workers and min at most max, got "
                f"{self.min_workers} to {self.max_workers}; swap or raise them"
            )
        if not (self.price_usd_per_hour >= 0 and self.interruptions_per_hour >= 0):
            raise SpecError(
                f"{self.machine_type}: expected a price and interruptions of 0 or more, got "
                f"{self.price_usd_per_hour:g} and {self.interruptions_per_hour:g}; "
                "correct its file in the catalogue"
            )
        if not self.workers():
            raise SpecError(
                f"{self.machine_type}: expected a number of workers between {self.min_workers} and "
                f"{self.max_workers}, got only {self.counts}; widen min and max"
            )

    def workers(self) -> tuple[int, ...]:
        """The numbers of workers that can be had, ascending."""
        counts = self.counts or range(self.min_workers, self.max_workers + 1)
        return tuple(sorted(k for k in counts if self.min_workers <= k <= self.max_workers))

    def nodes(self, workers: int) -> int:
        """On how many machines so many workers are."""
        return 1 if self.workers_per_node is None else -(-workers // self.workers_per_node)


@dataclass(frozen=True, slots=True)
class Sizes:
    """All sizes with what is known of them; n sizes, m batches.

    Attributes:
        offers: of each size, n.
        workers: of each size, n.
        batches: global batches, m.
        step_seconds: n × m; infinite where a size cannot compute a batch.
        usd_per_second: n.
        slowdown: n; 1 plus what interruptions lose.
        doubt: n × m; standard deviation of the step time's logarithm.
    """

    offers: tuple[Offer, ...]
    workers: tuple[int, ...]
    batches: tuple[int, ...]
    step_seconds: Floats
    usd_per_second: Floats
    slowdown: Floats
    doubt: Floats
    indexes: Mapping[tuple[str, int], int] = field(default_factory=dict)

    def stretch_seconds(self, noise: Floats, base_batch: int, examples: Floats) -> Floats:
        """Expected seconds of stretches at each size and batch: cases × stretches × n × m.

        Args:
            noise: the noise scale in examples, cases × stretches × m.
            base_batch: M0 in examples.
            examples: progress of each stretch, in examples at the base batch.
        """
        worth = np.stack(
            [efficiency(noise[..., j], base_batch, b) * b for j, b in enumerate(self.batches)], -1
        )
        a_step = self.step_seconds * self.slowdown[:, None]
        seconds: Floats = examples[:, None, None] / worth[:, :, None, :] * a_step
        return seconds


def slowest(offer: Offer, workers: int, batch: int, shards: int | None) -> tuple[int, int] | None:
    """Examples a pass of the worker that has most, and passes a step.

    Args:
        offer: with what a worker's memory holds.
        workers: world size.
        batch: global batch in examples.
        shards: virtual shards of a batch, that a worker takes whole; None: any part of it.

    Returns:
        None where these workers cannot compute this batch.
    """
    if shards is not None and workers > shards:
        return None
    most = batch / workers if shards is None else batch * math.ceil(shards / workers) / shards
    passes = 1 if offer.most_examples is None else math.ceil(most / offer.most_examples)
    examples = math.ceil(most / passes)
    return None if examples < offer.least_examples else (examples, passes)


def tabulate(
    offers: Sequence[Offer],
    batches: Sequence[int],
    fitted: Mapping[str, Fitted],
    observed: Mapping[str, Sequence[Observation]],
    restart_seconds: float,
    shards: int | None,
) -> Sizes:
    """What is known of every size, at every batch.

    Raises:
        SpecError: no machine type that was fitted, or no size that can compute any batch.
    """
    usable = [o for o in offers if o.machine_type in fitted]
    steps, doubts = [], []
    for offer in usable:
        found = _steps(offer, batches, fitted[offer.machine_type], observed, shards)
        steps.append(found[0])
        doubts.append(found[1])
    pairs = [(o, k) for o in usable for k in o.workers()]
    seconds = np.vstack(steps) if steps else np.empty((0, len(batches)))
    can = np.isfinite(seconds).any(axis=1)
    if not can.any():
        names = ", ".join(o.machine_type for o in offers) or "none"
        raise SpecError(
            f"policy: expected a measured machine type that can hold a batch of {list(batches)}, "
            f"got {names}; profile one of them, or allow more workers"
        )
    pairs = [pairs[i] for i in np.flatnonzero(can)]
    per_hour = [o.fixed_usd_per_hour + o.price_usd_per_hour * k for o, k in pairs]
    torn = np.array([o.interruptions_per_hour * k / 3600 for o, k in pairs])
    keys = [(o.machine_type, k) for o, k in pairs]
    return Sizes(
        offers=tuple(o for o, _ in pairs),
        workers=tuple(k for _, k in pairs),
        batches=tuple(batches),
        step_seconds=seconds[can],
        usd_per_second=np.array(per_hour) / 3600,
        slowdown=1 + torn * restart_seconds,
        doubt=np.vstack(doubts)[can],
        indexes={key: i for i, key in enumerate(keys)},
    )


def _steps(
    offer: Offer,
    batches: Sequence[int],
    fitted: Fitted,
    observed: Mapping[str, Sequence[Observation]],
    shards: int | None,
) -> tuple[Floats, Floats]:
    """Seconds of a step and the doubt about them, workers × batches; infinite and 0 if none."""
    workers = offer.workers()
    parts = [[slowest(offer, k, b, shards) for b in batches] for k in workers]
    seconds = np.full((len(workers), len(batches)), np.inf)
    doubt = np.zeros_like(seconds)
    at = [(i, j) for i, row in enumerate(parts) for j, part in enumerate(row) if part]
    asked = [
        (workers[i], offer.nodes(workers[i]), *part)
        for i, row in enumerate(parts)
        for part in row
        if part
    ]
    if asked:
        index = tuple(np.array(at).T)
        seen = observed.get(offer.machine_type, ())
        seconds[index], doubt[index] = corrected(fitted, seen, asked)
    return seconds, doubt


def noise_table(expected: NoiseForecast | None, progress: Floats, batches: Sequence[int]) -> Floats:
    """The noise scale in each case, at each progress and batch; 0, where a larger batch is worth
    nothing, if nothing was measured."""
    if expected is None:
        return np.zeros((len(CASES), len(progress), len(batches)))
    return np.array(
        [[case.at(progress, b) for b in batches] for case in expected.cases()]
    ).transpose(0, 2, 1)
