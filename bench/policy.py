"""What the policy would have paid in whole trainings, replayed on measured traces.

    python -m bench.policy [--quick] [--check]

Four trainings on up to 64 GPUs (bench/traces), batch=adaptive, $0.75 a GPU-hour. Every contestant
picks its best batch at each moment, and accumulates where a GPU's memory ends. Beside Tally's
policy stand the best static size in hindsight, the exact programme (which knows all step times and
all the noise to come; nothing can be cheaper), goodput-greedy (the same knowledge as Tally's, the
most progress a second, no prices) and the user's guess of 4. Tally's has seen a profile of one and
two GPUs, and then the steps and the noise scale of where it runs.

Targets. Where the best static run lasts 20 restarts or more: at most 2 % above it in each cell, and
at least 60 % of the programme's saving in the mean of the cells where that is 2 % or more. Noisy
replays (each observed step ± 10 %, the noise scale ± 30 %, seeded): deadlines and budgets kept in
99 %. With step times that are off by ± 10 % at each size for good: in the mean no dearer than the
static size that is best by what is known at the start. Shorter runs are reported.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from bench.policy_replay import GPU, Errors, begin, greedy, memory, offer, replay, tally
from bench.policy_truth import APPS, load
from bench.policy_world import Outcome, World, exact, static, world
from tally.scaling.objective import Objective
from tally.scaling.policy import Seen, decide
from tally.scaling.sizes import tabulate

VALUES_USD = (1, 5, 20)
RESTARTS_SECONDS = (30, 120)
LONG = 20  # restarts
ABOVE_STATIC, WORTH, SAVED, KEPT = 0.02, 0.02, 0.60, 0.99
NOISY = Errors(step=0.1, noise=0.3)
DEADLINES = (1.3, 2.0)  # × the fastest of all
BUDGETS = (1.1, 1.5)  # × the cheapest of all


@dataclass(frozen=True)
class Cell:
    """One training, value of an hour and restart; dollars with the value of the hours."""

    name: str
    value: int
    restart: int
    long: bool
    static: float
    exact: float
    tally: float
    greedy: float
    guess: float

    @property
    def could_save(self) -> float:
        """Share of the best static cost that the programme saves."""
        return 1 - self.exact / self.static

    @property
    def saved(self) -> float:
        """Share of the best static cost that Tally's policy saves; below 0: it lost."""
        return 1 - self.tally / self.static


def balanced(value: float) -> Objective:
    return Objective(value_of_hour_usd=value)


def played(of: World, restart: float, value: float, seed: int, errors: Errors) -> Outcome:
    """A replay of Tally's policy, objective balanced."""
    rng = np.random.default_rng(seed)
    choose = tally(of, lambda _: balanced(value))
    return replay(of, restart, choose, memory(of, rng, errors), rng, errors)


def cells(worlds: list[World]) -> Iterator[Cell]:
    """All trainings without any noise, told line by line."""
    print("training      $/h restart  best static      programme   tally  greedy  guess 4  sizes")
    for of in worlds:
        statics = [static(of, i) for i in range(len(of.counts))]
        for value in VALUES_USD:
            best = min(statics, key=lambda o: o.score(value))
            for restart in RESTARTS_SECONDS:
                least = exact(of, restart, 1.0, value / 3600)
                rng = np.random.default_rng(0)
                ours = played(of, restart, value, 0, Errors())
                known = memory(of, rng, Errors())
                most = replay(of, restart, greedy(of), known, rng, Errors())
                cell = Cell(
                    name=of.app.name,
                    value=value,
                    restart=restart,
                    long=best.seconds >= LONG * restart,
                    static=best.score(value),
                    exact=least.score(value),
                    tally=ours.score(value),
                    greedy=most.score(value),
                    guess=statics[of.counts.index(4)].score(value),
                )
                told(cell, best, ours)
                yield cell


def told(cell: Cell, best: Outcome, ours: Outcome) -> None:
    others = [f"{1 - cost / cell.static:+7.1%}" for cost in (cell.tally, cell.greedy, cell.guess)]
    sizes = " ".join(f"{k}:{share:.0%}" for k, share in ours.sizes)
    length = f"{best.seconds / cell.restart:5.0f}{' ' if cell.long else '-'}"
    print(
        f"{cell.name:12} {cell.value:4} {cell.restart:5} s "
        f"{best.sizes[0][0]:4} ${cell.static:7.2f} {length} "
        f"{cell.could_save:+9.1%} {' '.join(others)}  {sizes}",
        flush=True,
    )


def limits(worlds: list[World], seeds: int) -> tuple[dict[str, float], dict[str, float]]:
    """Shares of noisy replays that kept deadline and budget; dollars against the cheapest, and
    seconds against the fastest."""
    kept: dict[str, list[bool]] = {"deadline": [], "budget": []}
    over: dict[str, list[float]] = {"deadline": [], "budget": []}
    for of in worlds:
        for restart in RESTARTS_SECONDS:
            fast, cheap = exact(of, restart, 1e-9, 1.0), exact(of, restart, 1.0, 1e-9)
            for seed in range(seeds):
                for factor in DEADLINES if fast.seconds >= LONG * restart else ():
                    limit = factor * fast.seconds
                    ended = limited(of, restart, seed, "deadline", limit)
                    kept["deadline"].append(ended.seconds <= limit)
                    over["deadline"].append(ended.usd / cheap.usd)
                for factor in BUDGETS if cheap.seconds >= LONG * restart else ():
                    limit = factor * cheap.usd
                    ended = limited(of, restart, seed, "budget", limit)
                    kept["budget"].append(ended.usd <= limit)
                    over["budget"].append(ended.seconds / fast.seconds)
    shares = {kind: float(np.mean(values)) for kind, values in kept.items()}
    for kind, values in kept.items():
        print(f"{kind} kept in {sum(values)} of {len(values)} noisy replays")
    return shares, {kind: float(np.mean(values)) for kind, values in over.items()}


def limited(of: World, restart: float, seed: int, kind: str, limit: float) -> Outcome:
    """A noisy replay with a deadline in seconds or a budget in dollars."""
    rng = np.random.default_rng(seed)

    def objective(seen: Seen) -> Objective:
        if kind == "budget":
            return Objective(kind="budget", budget_usd=limit)
        return Objective(kind="deadline", deadline_seconds_left=limit - seen.elapsed_seconds)

    return replay(of, restart, tally(of, objective), memory(of, rng, NOISY), rng, NOISY)


def persistent(worlds: list[World], seeds: int) -> dict[str, float]:
    """Mean cost against the static size chosen at the start, where sizes are off for good."""
    ours, blind, told_noise = [], [], []
    for of in worlds:
        for value in VALUES_USD:
            best = min((static(of, i) for i in range(len(of.counts))), key=lambda o: o.score(value))
            for restart in RESTARTS_SECONDS:
                if best.seconds < LONG * restart:
                    continue
                for seed in range(seeds):
                    rng = np.random.default_rng([seed, 7])
                    off = of.scaled(np.exp(0.1 * rng.standard_normal(len(of.counts))))
                    chosen = [chosen_at_start(off, value, seed), told_the_noise(off, value, seed)]
                    reference = static(off, chosen[0]).score(value)
                    ours.append(played(off, restart, value, seed, NOISY).score(value) / reference)
                    told_noise.append(static(off, chosen[1]).score(value) / reference)
                    blind.append(reference)
    return {
        "tally": float(np.mean(ours)),
        "static_told_the_noise": float(np.mean(told_noise)),
        "replays": len(ours),
    }


def chosen_at_start(of: World, value: float, seed: int) -> int:
    """The static size that is best by what Tally's policy knows at the start."""
    seen = begin(of, memory(of, np.random.default_rng(seed), NOISY))
    costs = []
    for count in of.counts:
        only = replace(offer(of), counts=(count,))
        found = decide(seen, [only], balanced(value), of.app.batches)
        costs.append(found.predicted_usd + value * found.predicted_seconds / 3600)
    return int(np.argmin(costs))


def told_the_noise(of: World, value: float, seed: int) -> int:
    """The same with all the noise to come known, and step times as the profile foretells them."""
    known = memory(of, np.random.default_rng(seed), NOISY)
    observed = {GPU: known.observations()}
    guess = tabulate([offer(of)], of.app.batches, {GPU: known.fitted}, observed, 0.0, None)
    ratio = guess.step_seconds / np.where(np.isfinite(of.steps), of.steps, 1.0)
    seconds = (of.seconds * ratio).min(axis=2).sum(axis=0)
    return int(np.argmin(seconds * (of.rates + value)))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer seeds")
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    began = time.monotonic()
    worlds = [world(load(name)) for name in APPS]
    found = list(cells(worlds))
    shares, over = limits(worlds, 1 if arguments.quick else 8)
    lasting = persistent(worlds, 1 if arguments.quick else 4)
    long = [cell for cell in found if cell.long]
    saved = [cell.saved / cell.could_save for cell in long if cell.could_save >= WORTH]
    figures = {
        "bench": "policy",
        "cells": len(long),
        "cells_above_static": int(sum(-cell.saved > ABOVE_STATIC for cell in long)),
        "worst_above_static": float(max(-cell.saved for cell in long)),
        "mean_saved": float(np.mean([cell.saved for cell in long])),
        "mean_could_save": float(np.mean([cell.could_save for cell in long])),
        "mean_saved_of_greedy": float(np.mean([1 - c.greedy / c.static for c in long])),
        "mean_saved_of_guess": float(np.mean([1 - c.guess / c.static for c in long])),
        "share_of_saving": float(np.mean(saved)),
        "share_cells": len(saved),
        "short_mean_saved": float(np.mean([c.saved for c in found if not c.long])),
        "kept": shares,
        "limits_cost": over,
        "persistent": lasting,
        "seconds": time.monotonic() - began,
    }
    targets = {
        "each_cell": figures["cells_above_static"] == 0,
        "saving": np.mean(saved) >= SAVED,
        "kept": min(shares.values()) >= KEPT,
        "persistent": lasting["tally"] <= 1,
    }
    figures["met"] = {name: bool(met) for name, met in targets.items()}
    print(json.dumps(figures))
    return 1 if arguments.check and not all(targets.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
