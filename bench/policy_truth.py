"""What training really takes, from the traces: steps at each size, noise at each progress.

A gang of k GPUs is packed on nodes of four. Step times are the rows of exactly that placement,
interpolated over the examples a GPU. Accumulation adds passes without their sync. The noise scale
is interpolated over the logarithm of the global batch, between the files at the same progress.
"""

import csv
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tally.scaling.goodput import efficiency
from tally.scaling.stepfit import Observation

Floats = NDArray[np.float64]

TRACES = Path(__file__).parent / "traces"
APPS = ("cifar10", "imagenet", "deepspeech2", "bert")
COUNTS = (1, 2, 3, 4, 8, 12, 16, 24, 32, 48, 64)
PER_NODE = 4
LEAST_SQUARE = 1e-10  # grad_sqr below it is none: deepspeech2's falls to 1e-300


@dataclass(frozen=True)
class App:
    """One application: its rows by GPUs, its noise by batch.

    Attributes:
        name: the folder.
        base_batch: M0 in examples.
        batches: that a policy may choose, by factors of √2.
        end: progress of the whole training, in examples at the base batch.
        rows: GPUs → rows of (examples a GPU, step seconds, sync seconds), ascending.
        spread: the same of two GPUs on two nodes.
        noise: batch → (progress in examples, noise scale in examples).
    """

    name: str
    base_batch: int
    batches: tuple[int, ...]
    end: float
    rows: dict[int, Floats]
    spread: Floats
    noise: dict[int, tuple[Floats, Floats]]

    def step(self, workers: int, batch: int) -> float:
        """Seconds of a step; infinite outside what was traced."""
        rows = self.rows[workers]
        passes = math.ceil(batch / (workers * rows[-1, 0]))
        examples = math.ceil(batch / workers / passes)
        if examples < rows[0, 0]:
            return math.inf
        step, sync = (np.interp(examples, rows[:, 0], rows[:, c]) for c in (1, 2))
        return float((passes - 1) * (step - sync) + step)

    def sync(self, workers: int, batch: int) -> float:
        """Seconds of a step that are sync and nothing else."""
        rows = self.rows[workers]
        passes = math.ceil(batch / (workers * rows[-1, 0]))
        return float(np.interp(batch / workers / passes, rows[:, 0], rows[:, 2]))

    def noise_at(self, batch: int, progress: Floats) -> Floats:
        """The noise scale in examples."""
        known = np.log(list(self.noise))
        scales = [np.interp(progress, p, np.log(b)) for p, b in self.noise.values()]
        at = np.clip(math.log(batch), known[0], known[-1])
        i = min(int(np.searchsorted(known, at, side="right")) - 1, len(known) - 2)
        part = (at - known[i]) / (known[i + 1] - known[i])
        scale: Floats = np.exp((1 - part) * scales[i] + part * scales[i + 1])
        return scale

    def worth(self, batch: int, progress: Floats) -> Floats:
        """Progress of a step, in examples at the base batch."""
        return efficiency(self.noise_at(batch, progress), self.base_batch, batch) * batch


def load(name: str) -> App:
    """An application's traces."""
    folder = TRACES / name
    noise = {}
    for path in folder.glob("validation-*.csv"):
        table = _read(path)
        square = np.maximum(table["grad_sqr"], LEAST_SQUARE)
        noise[int(path.stem.split("-")[1])] = table["progress"], table["grad_var"] / square
    noise = dict(sorted(noise.items()))
    base, largest = min(noise), max(noise)
    end = base * float(noise[base][0][-1])
    by_progress = {b: (base * p, base * scale) for b, (p, scale) in noise.items()}
    factors = round(2 * math.log2(largest / base))
    batches = tuple(round(base * 2 ** (i / 2)) for i in range(factors + 1))
    rows, spread = _rows(folder)
    return App(name, base, batches, end, rows, spread, by_progress)


def _rows(folder: Path) -> tuple[dict[int, Floats], Floats]:
    placed, scaled = _read(folder / "placements.csv"), _read(folder / "scalability.csv")
    columns = ("local_bsz", "step_time", "sync_time")
    rows = {}
    for count in COUNTS:
        full = count // PER_NODE
        packed = int(str(count)) if count <= PER_NODE else int(str(PER_NODE) * full)
        at, of = placed["placement"] == packed, placed
        if not at.any():
            at, of = (scaled["num_nodes"] == full) & (scaled["num_replicas"] == count), scaled
        if at.any():
            rows[count] = _means(np.column_stack([of[c][at] for c in columns]))
    two = placed["placement"] == 11
    return rows, _means(np.column_stack([placed[c][two] for c in columns]))


def _means(rows: Floats) -> Floats:
    """Rows of the same examples a GPU, averaged; ascending."""
    return np.array([rows[rows[:, 0] == m].mean(axis=0) for m in np.unique(rows[:, 0])])


def _read(path: Path) -> dict[str, Floats]:
    with path.open() as file:
        lines = list(csv.DictReader(file))
    return {key: np.array([float(line[key]) for line in lines]) for key in lines[0]}


def profile(app: App) -> tuple[Observation, ...]:
    """What a profile with one and two GPUs measures: the smallest, a middle and the largest batch
    of one GPU, two on one node and two on two nodes."""
    seen = []
    for workers, nodes, rows in ((1, 1, app.rows[1]), (2, 1, app.rows[2]), (2, 2, app.spread)):
        for i in sorted({0, len(rows) // 2, len(rows) - 1}):
            examples, step, sync = rows[i].tolist()
            seen.append(
                Observation(
                    workers=workers,
                    nodes=nodes,
                    examples_per_worker=examples,
                    accumulation=1,
                    step_seconds=step,
                    sync_seconds=sync,
                    weight=10.0,
                )
            )
    return tuple(seen)
