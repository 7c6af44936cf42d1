"""Replays of whole trainings: what a policy does that sees only what it would have seen.

It has seen a profile of one and two GPUs and the noise scale at the base batch. While it runs it
sees its steps and the noise scale, at the size where it is, and is asked at every look.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from bench.policy_truth import PER_NODE, App, profile
from bench.policy_world import CELLS, PRICE_USD_PER_HOUR, Outcome, World
from tally.scaling.forecast import NoiseSeen, forecast
from tally.scaling.objective import Objective
from tally.scaling.policy import Offer, Seen, Size, decide
from tally.scaling.sizes import noise_table, tabulate
from tally.scaling.stepfit import Fitted, Observation, fit

LOOKS = 60  # at least, in a run as short as can be; more after changes (the conductor: each 4 s)
LAST_LOOKS = 10  # in what remains at this size
FIRST_LOOK_SECONDS = 10.0
GREEDY_MARGIN = 1.05
GPU = "gpu"


@dataclass
class Memory:
    """What a run has seen, and what was fitted to it.

    Attributes:
        app: of which it is.
        profiled: the small sizes' steps.
        steps: (workers, batch) → (how many steps, sum of logarithms of seconds).
        noise: measurements, in order.
        syncs: (workers, batch) → seconds of sync.
        fitted: to the profile; what ran since then corrects it.
    """

    app: App
    profiled: tuple[Observation, ...]
    fitted: Fitted
    steps: dict[tuple[int, int], tuple[float, float]] = field(default_factory=dict)
    noise: list[NoiseSeen] = field(default_factory=list)
    syncs: dict[tuple[int, int], float] = field(default_factory=dict)

    def look(
        self, size: Size, progress: float, step: float, sync: float, steps: float, noise: float
    ) -> None:
        """One observation of a step and of the noise scale."""
        key = (size.workers, size.batch_size)
        count, logs = self.steps.get(key, (0, 0.0))
        self.syncs[key] = sync
        self.steps[key] = (count + 1, logs + math.log(step))
        self.noise = [*self.noise[-150:], NoiseSeen(progress, size.batch_size, noise)]

    def observations(self) -> list[Observation]:
        """Steps of the profile, and of this run: one for each size and batch."""
        return [
            *self.profiled,
            *(
                self._observation(workers, batch, count, math.exp(logs / count))
                for (workers, batch), (count, logs) in self.steps.items()
            ),
        ]

    def _observation(self, workers: int, batch: int, count: float, step: float) -> Observation:
        most = int(self.app.rows[workers][-1, 0])
        passes = math.ceil(batch / (workers * most))
        return Observation(
            workers=workers,
            nodes=-(-workers // PER_NODE),
            examples_per_worker=math.ceil(batch / workers / passes),
            accumulation=passes,
            step_seconds=step,
            sync_seconds=self.syncs[(workers, batch)],
            weight=min(count, 10.0),
        )


Choose = Callable[[Seen], Size]


@dataclass(frozen=True)
class Errors:
    """How far observations are off: standard deviations of their logarithms."""

    step: float = 0.0
    noise: float = 0.0


def memory(of: World, rng: np.random.Generator, errors: Errors) -> Memory:
    """What is known before the start: the profile, and the noise scale it measured."""
    profiled = tuple(
        replace(o, step_seconds=o.step_seconds * off, sync_seconds=(o.sync_seconds or 0.0) * off)
        for o in profile(of.app)
        for off in [math.exp(errors.step / math.sqrt(o.weight) * rng.standard_normal())]
    )
    first = of.noise[0, 0] * math.exp(errors.noise * rng.standard_normal())
    known = Memory(of.app, profiled, fit(profiled))
    known.noise.append(NoiseSeen(of.cell / 2, of.app.base_batch, float(first)))
    return known


def offer(of: World) -> Offer:
    """The GPUs that can be had."""
    rows = of.app.rows[1]
    return Offer(
        machine_type=GPU,
        price_usd_per_hour=PRICE_USD_PER_HOUR,
        max_workers=max(of.counts),
        counts=of.counts,
        workers_per_node=PER_NODE,
        least_examples=int(rows[0, 0]),
        most_examples=int(rows[-1, 0]),
    )


def begin(of: World, known: Memory) -> Seen:
    """What is known before the first step."""
    return Seen(
        fitted={GPU: known.fitted},
        base_batch=of.app.base_batch,
        remaining_progress_examples=CELLS * of.cell,
        noise=tuple(known.noise),
        observed={GPU: known.observations()},
    )


def replay(
    of: World,
    restart_seconds: float,
    choose: Choose,
    known: Memory,
    rng: np.random.Generator,
    errors: Errors,
) -> Outcome:
    """A whole training in which `choose` decides."""
    cell, changes, pause = 0.0, 0, FIRST_LOOK_SECONDS
    longest = float(of.seconds.min(axis=(1, 2)).sum()) / LOOKS
    seen = replace(begin(of, known), restart_seconds=restart_seconds)
    runs: list[tuple[int, float]] = []
    while cell < CELLS:
        now, size = seen.now, choose(seen)
        n, b = of.counts.index(size.workers), of.app.batches.index(size.batch_size)
        lost = 0.0
        if now is None or size.workers != now.workers:
            runs.append((size.workers, 0.0))
            pause = FIRST_LOOK_SECONDS
            changes += now is not None
            lost = restart_seconds if now is not None else 0.0
        rest = float(of.seconds[int(cell) :, n, b].sum()) / LAST_LOOKS
        took, after = _advance(of, cell, n, b, max(FIRST_LOOK_SECONDS, min(pause, longest, rest)))
        pause *= 2
        runs[-1] = (size.workers, runs[-1][1] + (after - cell) / CELLS)
        _look(of, known, size, after, took, rng, errors)
        cell = after
        seen = replace(
            seen,
            fitted={GPU: known.fitted},
            observed={GPU: known.observations()},
            noise=tuple(known.noise),
            remaining_progress_examples=max((CELLS - cell) * of.cell, 1e-9),
            progress_examples=cell * of.cell,
            spent_usd=seen.spent_usd + (lost + took) * of.rates[n] / 3600,
            elapsed_seconds=seen.elapsed_seconds + lost + took,
            now=size,
        )
    return Outcome(seen.elapsed_seconds, seen.spent_usd, changes, tuple(runs))


def _look(
    of: World,
    known: Memory,
    size: Size,
    cell: float,
    took: float,
    rng: np.random.Generator,
    errors: Errors,
) -> None:
    """Put into memory what was seen while so many seconds passed, up to this cell."""
    n, b = of.counts.index(size.workers), of.app.batches.index(size.batch_size)
    steps = max(took / float(of.steps[n, b]), 1.0)
    off = math.exp(errors.step / math.sqrt(steps) * rng.standard_normal())
    scale = float(of.noise[min(int(cell), CELLS - 1), b])
    known.look(
        size,
        cell * of.cell,
        float(of.steps[n, b]) * off,
        float(of.syncs[n, b]) * off,
        steps,
        scale * math.exp(errors.noise * rng.standard_normal()),
    )


def _advance(of: World, cell: float, n: int, b: int, seconds: float) -> tuple[float, float]:
    """Seconds that passed (fewer at the end), and the cell reached."""
    left = seconds
    while left > 1e-9 and cell < CELLS:
        at = int(cell)
        whole = float(of.seconds[at, n, b])
        rest = (at + 1 - cell) * whole
        if rest > left:
            return seconds, cell + left / whole
        left -= rest
        cell = float(at + 1)
    return seconds - left, cell


def tally(of: World, objective: Callable[[Seen], Objective]) -> Choose:
    """Tally's policy."""
    offers = [offer(of)]

    def choose(seen: Seen) -> Size:
        return decide(seen, offers, objective(seen), of.app.batches).size

    return choose


def greedy(of: World) -> Choose:
    """The most progress a second by what is known, without prices; 5 % is worth a restart."""
    offers = [offer(of)]

    def choose(seen: Seen) -> Size:
        sizes = tabulate(offers, of.app.batches, seen.fitted, seen.observed, 0.0, None)
        around = seen.now.batch_size if seen.now else of.app.base_batch
        progress = np.array([max(seen.progress_examples, 1.0)])
        noise = noise_table(forecast(seen.noise, around), progress, of.app.batches)
        pace = 1 / sizes.stretch_seconds(noise, seen.base_batch, np.ones(1))[0, 0]
        n, b = np.unravel_index(int(pace.argmax()), pace.shape)
        if seen.now is not None:
            at = sizes.indexes[(GPU, seen.now.workers)]
            if pace[n, b] < GREEDY_MARGIN * pace[at].max():
                n, b = at, int(pace[at].argmax())
        return Size(GPU, sizes.workers[n], of.app.batches[b])

    return choose
