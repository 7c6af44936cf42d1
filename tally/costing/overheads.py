"""What a run takes beside its training: of past runs like it, else what is usual. Pure."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tally.costing.quote import Range, symmetric

PARTS = ("submit", "prepare", "plan", "train", "evaluate", "bill")
USUAL_SECONDS: Mapping[str, float] = {
    # of two cores of a server that nobody else uses (python -m bench.overhead); submit without the
    # quote, train without the start of its workers, evaluate without candidates
    "submit": 2.4, "prepare": 0.4, "plan": 0.9, "train": 0.9, "evaluate": 3.0, "bill": 0.6,
}  # fmt: skip
CANDIDATE_SECONDS = 0.6  # to make and measure a candidate, without training it on
WORKERS_START_SECONDS = 3.3  # of one worker until it trains, on the same machine
NEWEST = 6  # past runs that count
WITHIN_80 = 1.2816  # standard deviations of a normal law on each side
UNKNOWN, FLOOR = 0.35, 0.04  # half-widths: of what is only usual, and of what was seen often


@dataclass(frozen=True, slots=True, kw_only=True)
class PastRun:
    """Where the wall clock of a run went that is over.

    Attributes:
        run_id: whose.
        model, fingerprint: of its model and its dataset.
        workers: that trained, all the time.
        judged: which candidates it made, as the next run says it.
        seconds: by part; submit's without its quote, train's without the training.
    """

    run_id: str
    model: str
    fingerprint: str
    workers: int
    judged: str
    seconds: Mapping[str, float]


def part(
    name: str,
    past: Sequence[PastRun],
    model: str,
    fingerprint: str,
    workers: int,
    judged: str,
    usual: float,
) -> Range:
    """Seconds that a part of the next run takes.

    Args:
        name: of PARTS.
        past: newest first.
        model, fingerprint, workers, judged: of the next run; the runs that are most like it count.
        usual: where none is.
    """
    alike = [run for run in past if name in run.seconds]
    if name == "train":
        alike = [run for run in alike if (run.model, run.workers) == (model, workers)]
    if name == "evaluate":
        alike = [run for run in alike if run.judged == judged]
    for same in (
        [run for run in alike if run.fingerprint == fingerprint and run.model == model],
        [run for run in alike if run.model == model],
    ):
        if same:
            alike = same
            break
    return typical([run.seconds[name] for run in alike[:NEWEST]], usual)


def typical(seen: Sequence[float], usual: float) -> Range:
    """What comes next after these, newest first; `usual` where there are none."""
    if not seen:
        return symmetric(usual, UNKNOWN)
    middle = statistics.median(seen)
    if not middle:
        return Range(0.0, 0.0, 0.0)
    # one value says nothing of the spread: what is believed of it counts as two more values
    off = [math.log(max(value, 1e-3) / max(middle, 1e-3)) for value in seen]
    believed = 0.10
    variance = (sum(x * x for x in off) + 2 * believed**2) / (len(off) + 1)
    half = WITHIN_80 * math.sqrt(variance * (1 + 1 / len(seen)))
    return symmetric(middle, max(FLOOR, math.expm1(min(half, 2.0))))
