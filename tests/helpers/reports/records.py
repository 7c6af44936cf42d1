"""Runs as they really look, without training: usage through the real merge, charge and bill."""

import math
import random
from dataclasses import dataclass, field
from typing import Any

from tally.costing.allocation import charge
from tally.costing.bill import Bill, make_bill
from tally.costing.merge import merge
from tally.costing.runs import RunRecord
from tally.costing.usage import Phase, Usage
from tally.spec import Spec
from tally.tasks import reading

START = 1_772_373_600_000_000  # 2026-03-01 14:00 UTC
COLUMNS = reading.words({}, {}).columns
FIGURES = tuple(COLUMNS)
RUN = "019caa11-7000-7000-8000-0000000000aa"


@dataclass
class Story:
    """A run's rows and events, written in the order in which they happen."""

    rate: int = 9_000
    per_epoch: int = 28_740
    epochs: int = 5
    now: float = 0.0
    attempt: int = 1
    usage: list[Usage] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)

    def event(self, step: str, kind: str, **fields: Any) -> None:
        at = START + round(self.now * 1e6)
        row = {"schema": 1, "at_microseconds": at, "attempt": self.attempt, "step": step}
        self.events.append({**row, "event": kind, **fields})

    def hold(
        self, step: str, seconds: float, phase: Phase = "work", worker: str = "", cores: float = 2.0
    ) -> None:
        begin = START + round(self.now * 1e6)
        end = begin + round(seconds * 1e6)
        self.usage.append(
            Usage(
                run_id=RUN, pipeline="cnn", step=step, worker=worker, attempt=self.attempt,
                pod_uid=f"host:{step}{worker}:{self.attempt}", node_uid="host",
                container="worker" if worker else "step", start_microseconds=begin,
                end_microseconds=end, heartbeat_at_microseconds=end, cpu_request_cores=cores,
                phase=phase, price_usd_per_hour=0.10,
            )
        )  # fmt: skip

    def step(self, step: str, seconds: float, **progress: Any) -> None:
        self.hold(step, 0.4, "startup" if self.attempt == 1 else "restart")
        self.now += 0.4
        self.event(step, "step_started")
        self.hold(step, seconds)
        self.now += seconds
        self.event(step, "progress", done=1, total=1, unit="examples", **progress)
        self.event(step, "step_ended")

    def train(
        self, first: int, last: int, every_seconds: float = 0.1, wobble: float = 0.06
    ) -> None:
        """Examples first..last, of all epochs."""
        chance = random.Random(first)
        self.event("train", "step_started")
        self.hold("train", 3.1, "startup" if self.attempt == 1 else "restart", "0")
        self.now += 3.1
        epoch, offset = divmod(first, self.per_epoch)
        self.event("train", "started", epoch=epoch, offset=offset)
        begun, done, saved = self.now, first, self.now
        while done < last:
            speed = self.rate * (1 + chance.gauss(0, wobble))
            done = min(last, done + round(speed * every_seconds))
            self.now += every_seconds
            seen = done / self.per_epoch
            loss = 0.55 * math.exp(-seen / 0.7) + 0.02 + chance.gauss(0, 0.004)
            fields = {"loss": loss, "accuracy": 1 - loss / 3.2, "examples_per_second": speed}
            self.event("train", "progress", done=done, total=self.per_epoch * self.epochs, **fields)
            if done // self.per_epoch > epoch or done == last == self.per_epoch * self.epochs:
                end = {"loss": loss, "accuracy": 1 - loss / 3.2, "seconds": 3.0}
                self.event("train", "epoch", epoch=epoch, **end)
                epoch += 1
            if self.now - saved > 5:
                saved = self.now
                place = divmod(done, self.per_epoch)
                self.event("train", "checkpoint", epoch=place[0], offset=place[1])
        held = self.now - begun
        self.now = begun
        self.hold("train", held, "work", "0")
        self.now = begun + held

    def bill(self, run: RunRecord) -> Bill:
        return make_bill(run, charge(merge(self.usage)), run.value_of_hour_usd)


def record(story: Story, state: Any = "succeeded", **changes: Any) -> RunRecord:
    fields: dict[str, Any] = {
        "id": RUN,
        "pipeline": "cnn",
        "state": state,
        "created_at_microseconds": START,
        "ended_at_microseconds": START + round(story.now * 1e6),
        "value_of_hour_usd": 1.0,
        "attempt": story.attempt,
        "spec": Spec().model_dump(),
        "metrics": {name: evaluated()[name] for name in ("test_accuracy", "test_loss", "macro_f1")},
        "examples_trained": story.per_epoch * story.epochs,
    }
    return RunRecord(**{**fields, **changes})


def whole(resumed: bool = False, every_seconds: float = 0.1) -> Story:
    """prepare, train, evaluate, bill; killed and resumed an hour later where asked."""
    story = Story()
    story.now += 1.2
    story.step("prepare", 1.1, train_examples=28_740, test_examples=360, name="digits")
    all_examples = story.per_epoch * story.epochs
    if resumed:
        story.train(0, 90_000, every_seconds)
        story.now += 3600
        story.attempt = 2
        story.step("prepare", 0.3)
        story.train(70_000, all_examples, every_seconds)
    else:
        story.train(0, all_examples, every_seconds)
    story.event("train", "step_ended")
    story.step("evaluate", 2.2)
    story.step("bill", 0.2)
    begun = Story(now=0.0)
    begun.hold("submit", 6.0, "startup", cores=0.0)
    story.usage += begun.usage
    return story


def evaluated(classes: int = 10, names: list[str] | None = None) -> dict[str, Any]:
    """An evaluation with a few mistakes, mostly between neighbours."""
    chance = random.Random(classes)
    names = names or [str(k) for k in range(classes)]
    confusion = [[0] * classes for _ in range(classes)]
    for true in range(classes):
        for _ in range(36):
            wrong = chance.random() < 0.04
            confusion[true][(true + chance.randint(1, 3)) % classes if wrong else true] += 1
    total = 36 * classes
    right = sum(confusion[k][k] for k in range(classes))
    return {
        "schema": 1, "test_accuracy": right / total, "test_loss": 0.0512, "macro_f1": 0.97,
        "count": total, "class_names": names, "confusion": confusion, "seconds": 2.0,
        "per_class": [
            {"class": name, "precision": confusion[k][k] / max(1, sum(r[k] for r in confusion)),
             "recall": confusion[k][k] / 36, "f1": 0.97 - k / (50 * classes), "support": 36}
            for k, name in enumerate(names)
        ],
    }  # fmt: skip
