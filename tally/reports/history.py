"""What a run's events say about when: its attempts, steps, learning and throughput. Pure.

Attempts are put end to end on one axis of running time: nothing is paid between them, so a night
between a kill and its resume takes no room.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Event = Mapping[str, Any]
_LARGEST = 1e100  # nothing that is counted comes near it, and ratios of such figures stay finite


@dataclass(frozen=True)
class Attempt:
    """One life of the run: seconds of running time from its first event to its last."""

    number: int
    start_seconds: float
    end_seconds: float
    first_microseconds: int


@dataclass(frozen=True)
class Span:
    """One step in one attempt, in seconds of running time."""

    step: str
    attempt: int
    start_seconds: float
    end_seconds: float
    ended: str  # "done", "failed", or "cut short": no end was written, so it was killed


@dataclass(frozen=True)
class Sample:
    """Training at one moment; a figure that was not written (or is not finite) is None."""

    attempt: int
    at_seconds: float
    done: float
    loss: float | None
    figures: Mapping[str, float | None]
    examples_per_second: float | None


@dataclass(frozen=True)
class Epoch:
    """The end of an epoch; number counts from 1."""

    attempt: int
    number: int
    loss: float | None
    figures: Mapping[str, float | None]
    seconds: float | None


@dataclass(frozen=True)
class History:
    """All of it.

    Attributes:
        total: examples that training set out to see, None where it was never said.
        failures: the lines that failing steps told the user.
        facts: what prepare said of the dataset: name, train_examples, test_examples.
        began_at: by attempt, the examples already in the weights when it began to train.
    """

    attempts: tuple[Attempt, ...]
    spans: tuple[Span, ...]
    samples: tuple[Sample, ...]
    epochs: tuple[Epoch, ...]
    checkpoints_seconds: tuple[float, ...]
    total: float | None
    failures: tuple[str, ...]
    facts: Mapping[str, Any]
    began_at: Mapping[int, float]

    @property
    def seconds(self) -> float:
        """Running time of all attempts together."""
        return self.attempts[-1].end_seconds if self.attempts else 0.0


def read(events: Iterable[Event], figures: Iterable[str]) -> History:
    """Sort a run's events into its history; events of kinds not known here are passed over.

    Args:
        events: as `tally.events.read` gives them, in any order.
        figures: names of what the task counts beside the loss.
    """
    rows = sorted(
        (row for row in events if _number(row.get("at_microseconds")) is not None),
        key=lambda row: (int(row.get("attempt", 1)), int(row["at_microseconds"])),
    )
    attempts = _attempts(rows)
    by_number = {attempt.number: attempt for attempt in attempts}

    def seconds(row: Event) -> float:
        attempt = by_number[int(row.get("attempt", 1))]
        since = (int(row["at_microseconds"]) - attempt.first_microseconds) / 1e6
        return attempt.start_seconds + since

    progress = [row for row in rows if row.get("event") == "progress"]
    training = {row.get("step") for row in progress if "loss" in row}
    training |= {row.get("step") for row in rows if row.get("event") == "epoch"}
    names = tuple(figures)
    told = [_sample(row, seconds(row), names) for row in progress if row.get("step") in training]
    samples = tuple(sample for sample in told if sample is not None)
    totals = [_number(row.get("total")) for row in progress if row.get("step") in training]
    facts = next((row for row in progress if "train_examples" in row), {})
    return History(
        attempts=attempts,
        spans=tuple(_spans(rows, seconds)),
        samples=samples,
        epochs=_epochs(rows, names),
        checkpoints_seconds=tuple(seconds(row) for row in rows if row.get("event") == "checkpoint"),
        total=max((total for total in totals if total), default=None),
        failures=tuple(str(row.get("message", "")) for row in rows if row.get("event") == "failed"),
        facts=facts,
        began_at=_began_at(rows, samples, _number(facts.get("train_examples"))),
    )


def by_attempt(samples: Sequence[Sample]) -> dict[int, list[Sample]]:
    """Samples of each attempt, in their order."""
    groups: dict[int, list[Sample]] = {}
    for sample in samples:
        groups.setdefault(sample.attempt, []).append(sample)
    return groups


def median(values: Sequence[float]) -> float:
    """The middle value; the lower of the two middle ones where their number is even."""
    return sorted(values)[(len(values) - 1) // 2]


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < _LARGEST else None


def _attempts(rows: Sequence[Event]) -> tuple[Attempt, ...]:
    bounds: dict[int, tuple[int, int]] = {}
    for row in rows:
        number, at = int(row.get("attempt", 1)), int(row["at_microseconds"])
        bounds[number] = (bounds.get(number, (at, at))[0], at)
    attempts, now = [], 0.0
    for number, (first, last) in bounds.items():
        attempts.append(Attempt(number, now, now + (last - first) / 1e6, first))
        now = attempts[-1].end_seconds
    return tuple(attempts)


def _spans(rows: Sequence[Event], seconds: Any) -> Iterable[Span]:
    grouped: dict[tuple[int, str], list[Event]] = {}
    for row in rows:
        if row.get("step"):
            key = (int(row.get("attempt", 1)), str(row["step"]))
            grouped.setdefault(key, []).append(row)
    for (attempt, step), group in grouped.items():
        kinds = {row.get("event") for row in group}
        if step == "submit" and "step_started" not in kinds:
            continue  # submit's notes are no work of a step
        ended = "done" if "step_ended" in kinds else "failed" if "failed" in kinds else "cut short"
        yield Span(step, attempt, seconds(group[0]), seconds(group[-1]), ended)


def _sample(row: Event, at_seconds: float, names: Iterable[str]) -> Sample | None:
    done = _number(row.get("done"))
    if done is None:
        return None
    return Sample(
        attempt=int(row.get("attempt", 1)),
        at_seconds=at_seconds,
        done=done,
        loss=_number(row.get("loss")),
        figures=_figures(row, names),
        examples_per_second=_number(row.get("examples_per_second")),
    )


def _figures(row: Event, names: Iterable[str]) -> dict[str, float | None]:
    """What the task counts beside the loss."""
    return {name: _number(row[name]) for name in names if name in row}


def _began_at(
    rows: Sequence[Event], samples: Sequence[Sample], per_epoch: float | None
) -> dict[int, float]:
    """Where each attempt began: as its worker said, else at the first it told of its progress."""
    began: dict[int, float] = {}
    for row in rows:
        if row.get("event") == "started" and per_epoch:
            epoch, offset = _number(row.get("epoch")), _number(row.get("offset"))
            if epoch is not None and offset is not None:
                began.setdefault(int(row.get("attempt", 1)), epoch * per_epoch + offset)
    for sample in samples:
        began.setdefault(sample.attempt, sample.done)
    return began


def _epochs(rows: Sequence[Event], names: Iterable[str]) -> tuple[Epoch, ...]:
    """Epoch ends, the latest attempt's word for each; events count them from 0."""
    latest: dict[int, Epoch] = {}
    for row in rows:
        number = _number(row.get("epoch"))
        if row.get("event") == "epoch" and number is not None:
            latest[int(number) + 1] = Epoch(
                attempt=int(row.get("attempt", 1)),
                number=int(number) + 1,
                loss=_number(row.get("loss")),
                figures=_figures(row, names),
                seconds=_number(row.get("seconds")),
            )
    return tuple(latest[number] for number in sorted(latest))
