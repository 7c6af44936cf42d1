"""How far a training has come, as its checkpoints say it. Pure."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from tally.gang.messages import EpochEnd
from tally.learning.noise import UNKNOWN, GradientNoise


@dataclass(frozen=True)
class Position:
    """How far a training has come.

    Attributes:
        epoch: of the next step, from 0; equal to the number of epochs at the end.
        offset: examples of that epoch already trained on.
        loss_sum, loss_weight: of that epoch so far: the loss is the one over the other.
        totals: of the task, of that epoch so far, by name.
        epoch_seconds: spent on that epoch so far.
        examples_trained: over all epochs.
        history: the epochs that are done.
        noise: of the gradients of late.
        batch_size: the global batch of late; 0 before the first step, and where an older Tally
            saved one that does not change: `advance.begun` knows it and what follows from it.
        steps: of the optimiser so far.
        progress_examples: what was done, in examples at the spec's batch.
    """

    epoch: int = 0
    offset: int = 0
    loss_sum: float = 0.0
    loss_weight: float = 0.0
    totals: Mapping[str, float] = field(default_factory=dict)
    epoch_seconds: float = 0.0
    examples_trained: int = 0
    history: tuple[EpochEnd, ...] = ()
    noise: GradientNoise = UNKNOWN
    batch_size: int = 0
    steps: int = 0
    progress_examples: float = 0.0

    @property
    def loss(self) -> float:
        """Of the epoch so far."""
        return self.loss_sum / (self.loss_weight or 1.0)

    @property
    def seconds(self) -> float:
        """Seconds of training that are in the weights."""
        return sum(epoch.seconds for epoch in self.history) + self.epoch_seconds

    def as_json(self) -> dict[str, Any]:
        """In one level, the task's totals beside the rest, by their names."""
        facts = asdict(self)
        del facts["totals"]
        return {**facts, **self.totals, "history": [epoch.as_json() for epoch in self.history]}

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> "Position":
        """What `as_json` made of one, an older Tally's too: what is none of its own is a total."""
        own = {one.name for one in fields(Position)}
        facts = {"loss_weight": values["offset"]} | {k: v for k, v in values.items() if k in own}
        return Position(
            **{
                **facts,
                "history": tuple(EpochEnd.from_json(epoch) for epoch in values["history"]),
                "noise": GradientNoise(**values.get("noise", {})),
                "totals": {k: v for k, v in values.items() if k not in own},
            }
        )
