"""What a training asks of whoever computes it: a model, its optimiser and their variables.

A backend is ready to train when it is made: which framework that is, and how, is decided in
framework.py. It takes steps alone, many a call; or a gang takes them together: each rank's `share`,
their sum, `apply`. What is asked speaks of examples, steps and numpy arrays, never of a framework.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, Self

from tally.data.format import Array, Split
from tally.gang.messages import WorkerConfig
from tally.learning.moment import Moment, StepPlan, Total
from tally.tasks.task import Task

Vector = Any  # float32 (size,), an array or the framework's own: + adds two of them


class Backend(Protocol):
    """A model that is trained."""

    @property
    def plan(self) -> StepPlan:
        """Of its steps."""

    @property
    def task(self) -> Task:
        """What is learned."""

    @property
    def parameters(self) -> int:
        """Numbers in the model's variables."""

    @property
    def missing_activation(self) -> str:
        """What makes the model's outputs what its task answers with: of one that ends in logits."""

    @property
    def fault(self) -> type[Exception]:
        """What is raised where a step cannot be computed: values that no layer takes."""

    @property
    def rate(self) -> float:
        """The optimiser's learning rate now."""

    def use_rate(self, noise_scale_examples: float, base_batch: int) -> None:
        """Set the learning rate for the batch of the plan.

        Args:
            noise_scale_examples: nan where it is not known.
            base_batch: the user's batch, that the rate was given for, in examples.
        """

    def sized(self, batch_size: int) -> Self:
        """The same training with steps of another global batch; all else is shared.

        Args:
            batch_size: in examples; the plan's own, or one of its batches.
        """

    def warm(self) -> None:
        """Compile every shape that gangs of 1 … max_workers bring; changes no variable."""

    def run(self, x: Array, y: Any, epoch: int, offset: int, steps: int = 0) -> Array:
        """Train alone on consecutive batches, one optimiser step each; not in deterministic mode.

        Args:
            x: (n, *input_shape) as stored; n may be any multiple of the batch size, and beyond one
                only at the end of an epoch.
            y: the targets, of n examples.
            epoch, offset: where in the epoch's order x begins.
            steps: of the optimiser before these: what is done to weights after a step goes by its
                number.

        Returns:
            What each step adds up to, float32 (steps, 2 + totals): loss, its weight, the task's
            totals. It ends with the first step whose loss is not finite: no later one was done.

        Raises:
            the fault: a step cannot be computed.
        """

    def share(
        self, x: Array, y: Any, moment: Moment, flags: Array, measured: bool = False
    ) -> Vector:
        """This rank's part of a step; changes no variable.

        Args:
            x, y: the examples of the moment's `rows`, x as stored; maybe none.
            moment: which step, and whose part of it.
            flags: float32 (2,): added up over the ranks.
            measured: the gradients' noise, even if it is not this step's turn.

        Returns:
            What adds up over the ranks; in deterministic mode float32 (shards, size), a row for
            each virtual shard of this rank.

        Raises:
            the fault: it cannot be computed.
        """

    def totals(self, vector: Vector) -> Total:
        """What the sum of a step's parts says, without applying it."""

    def apply(self, vector: Vector, steps: int = 0) -> float:
        """Take the step: put the sum of its parts into the variables.

        Args:
            vector: the sum.
            steps: of the optimiser before this one, as for `run`.

        Returns:
            The squared norm of its gradient, as the optimiser saw it; 0 where that is not measured.
        """

    def variables(self, of: str = "") -> dict[str, Array]:
        """Copies of what a checkpoint must hold, by names that are the same in every process.

        Args:
            of: how the names begin: "model/", "optimizer/" or "after/" (what belongs to what is
                done after each step); all by default. Nothing else is copied.

        Returns:
            C-ordered arrays: safetensors writes the memory of another as it lies, without a word.
        """

    def assign(self, tensors: Mapping[str, Array], where: str) -> None:
        """Set all variables.

        Args:
            tensors: what `variables` gave, of whatever order in memory.
            where: they come from; for the error.

        Raises:
            SpecError: they are another model's; nothing was set.
        """

    def start_from(self, path: Path) -> None:
        """Give the model the weights that another training of it ended with; the optimiser's stay.

        Args:
            path: of its weights.safetensors.

        Raises:
            DataError: they are missing, damaged, or another model's.
        """

    def save(self, path: Path) -> str:
        """Write the model for programs of its framework: whole, or not at all.

        Args:
            path: of model.keras.

        Returns:
            Why the framework could not, in a few words; "" where it could, and where `remarks` has
            said that it cannot.

        Raises:
            RunError: the disk is full.
        """

    def remarks(self, config: WorkerConfig, split: Split) -> list[str]:
        """What a person should know before the first step, a line each.

        Args:
            config: of the worker.
            split: that is trained on.
        """
