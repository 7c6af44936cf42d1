"""Trainings cut into cells of progress, and what any fixed sequence of sizes costs in them.

In a cell the noise stands still. All contestants run through the same cells.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bench.policy_truth import App

Floats = NDArray[np.float64]

CELLS = 400
PRICE_USD_PER_HOUR = 0.75


@dataclass(frozen=True)
class World:
    """An application cut into cells.

    Attributes:
        app: the application.
        counts: GPUs, n.
        seconds: of a cell: cells × n × batches.
        noise: scale in the middle of a cell: cells × batches.
        steps: seconds of a step, n × batches.
        syncs: seconds of its sync, n × batches.
    """

    app: App
    counts: tuple[int, ...]
    seconds: Floats
    noise: Floats
    steps: Floats
    syncs: Floats

    @property
    def cell(self) -> float:
        """Progress of a cell, in examples at the base batch."""
        return self.app.end / CELLS

    @property
    def rates(self) -> Floats:
        """Dollars an hour of each size."""
        return PRICE_USD_PER_HOUR * np.array(self.counts)

    def best(self) -> Floats:
        """Seconds of each cell at each size, with the batch that is best there."""
        return self.seconds.min(axis=2)

    def scaled(self, factors: Floats) -> "World":
        """The same with other step times: a factor for each size."""
        return replace(
            self,
            seconds=self.seconds * factors[None, :, None],
            steps=self.steps * factors[:, None],
            syncs=self.syncs * factors[:, None],
        )


def world(app: App) -> World:
    """The cells of an application."""
    counts = tuple(app.rows)
    middles = (np.arange(CELLS) + 0.5) * app.end / CELLS
    steps = np.array([[app.step(k, b) for b in app.batches] for k in counts])
    syncs = np.array([[app.sync(k, b) for b in app.batches] for k in counts])
    worth = np.column_stack([app.worth(b, middles) for b in app.batches])
    noise = np.column_stack([app.noise_at(b, middles) for b in app.batches])
    seconds = app.end / CELLS / worth[:, None, :] * steps[None]
    return World(app, counts, seconds, noise, steps, syncs)


@dataclass(frozen=True)
class Outcome:
    """What a training took.

    Attributes:
        seconds: wall clock, restarts included.
        usd: hardware.
        changes: of size.
        sizes: GPUs in order, with the share of progress made at each.
    """

    seconds: float
    usd: float
    changes: int
    sizes: tuple[tuple[int, float], ...] = ()

    def score(self, value_of_hour_usd: float) -> float:
        """Dollars and the value of the hours."""
        return self.usd + value_of_hour_usd * self.seconds / 3600


def static(of: World, index: int) -> Outcome:
    """One size all the way."""
    seconds = float(of.best()[:, index].sum())
    return Outcome(seconds, seconds * of.rates[index] / 3600, 0, ((of.counts[index], 1.0),))


def exact(of: World, restart_seconds: float, per_usd: float, per_second: float) -> Outcome:
    """The least weighted sum of dollars and seconds that any sequence of sizes comes to."""
    cells = of.best()
    rate = per_usd * of.rates / 3600 + per_second
    value, moves = np.zeros(len(rate)), []
    for row in cells[::-1]:
        stay = rate * row + value
        enter = stay + rate * restart_seconds
        least = int(enter.argmin())
        moves.append(np.where(stay <= enter[least], np.arange(len(rate)), least))
        value = np.minimum(stay, enter[least])
        first = int(stay.argmin())
    path = [first]
    for move in moves[-2::-1]:
        path.append(int(move[path[-1]]))
    return followed(of, restart_seconds, path)


def followed(of: World, restart_seconds: float, path: list[int]) -> Outcome:
    """A size for each cell."""
    cells, seconds, usd, changes = of.best(), 0.0, 0.0, 0
    runs: list[tuple[int, float]] = []
    for i, n in enumerate(path):
        changed = bool(i) and path[i - 1] != n
        took = cells[i, n] + changed * restart_seconds
        seconds += took
        usd += took * of.rates[n] / 3600
        changes += changed
        if changed or not runs:
            runs.append((of.counts[n], 0.0))
        runs[-1] = (runs[-1][0], runs[-1][1] + 1 / len(path))
    return Outcome(seconds, usd, changes, tuple(runs))
