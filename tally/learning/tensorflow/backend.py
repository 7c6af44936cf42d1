"""Training steps in TensorFlow: many in a call for a lone worker, or one as a gang's share.

A step is gradients → (a gang's sum over its ranks stands here) → apply; gradients are sums over
examples divided by the step's true size, so that shares of a step add up to the whole.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from tally.data.format import Array, Meta, Split
from tally.errors import SpecError
from tally.gang.messages import WorkerConfig
from tally.learning import batches, order
from tally.learning.moment import NOISE_STEPS, Moment, StepPlan, Total, largest_share, rows
from tally.learning.tensorflow import (
    alone,
    devices,
    ending,
    gradients,
    keras_file,
    lstm_kernel,
    named,
    optimiser,
    parts,
    predict,
    randomness,
    remarks,
    warming,
)
from tally.learning.tensorflow.after import After
from tally.learning.tensorflow.gradients import Problem
from tally.tasks.task import Task

Tensor = Any


@dataclass(frozen=True)
class TensorFlowBackend:
    """A Keras model that is ready to be trained; see tally.learning.backend.Backend.

    Attributes:
        model: the keras.Model.
        optimizer: its keras optimizer, built.
        plan: of its steps.
        problem: what is traced.
        strategy: over several accelerators of this worker, or None.
        traced: TensorFlow's functions by name, made when they are first needed.
        base_rate: the learning rate at the user's batch; None where a schedule says it.
    """

    model: Any
    optimizer: Any
    plan: StepPlan
    problem: Problem
    strategy: Any | None = None
    traced: dict[str, Callable[..., Any]] = field(default_factory=dict)
    base_rate: float | None = None

    @property
    def task(self) -> Task:
        """As Backend."""
        return self.problem.task

    @property
    def parameters(self) -> int:
        """As Backend."""
        return int(self.model.count_params())

    @property
    def missing_activation(self) -> str:
        """As Backend."""
        return ending.missing(self.model, self.problem.meta)

    @property
    def fault(self) -> type[Exception]:
        """As Backend."""
        import tensorflow as tf

        return tf.errors.OpError  # type: ignore[no-any-return]

    @property
    def rate(self) -> float:
        """As Backend."""
        return optimiser.rate_of(self.optimizer)

    def use_rate(self, noise_scale_examples: float, base_batch: int) -> None:
        """As Backend; its base_rate is a number."""
        import keras

        assert self.base_rate is not None
        sgd = isinstance(self.optimizer, keras.optimizers.SGD)
        factor = batches.rate_factor(
            "adascale" if sgd else "root", noise_scale_examples, base_batch, self.plan.batch_size
        )
        if self.rate != np.float32(self.base_rate * factor):
            self.optimizer.learning_rate = self.base_rate * factor

    def sized(self, batch_size: int) -> "TensorFlowBackend":
        """As Backend."""
        return replace(self, plan=replace(self.plan, batch_size=batch_size))

    def warm(self) -> None:
        """As Backend."""
        warming.warm(self, self.problem)

    def run(self, x: Array, y: Any, epoch: int, offset: int, steps: int = 0) -> Array:
        """As Backend."""
        if self.strategy:
            return self._run_spread(x, y, epoch, offset, steps)
        where = np.array([epoch, offset], np.int64)
        done, sums = self._lone()(x, y, where, *self._asked(steps))
        return sums.numpy()[: int(done)]  # type: ignore[no-any-return]

    def share(self, x: Array, y: Any, moment: Moment, flags: Array, measured: bool = False) -> Any:
        """As Backend; the vector is laid out as `parts` says, flags are in a rank's first shard."""
        import tensorflow as tf

        plan, (first, _) = self.plan, rows(self.plan, moment)
        measured = measured or moment.offset // plan.batch_size % NOISE_STEPS == 0
        where = [moment.epoch, moment.offset + first, moment.examples, measured]
        if plan.deterministic:
            return self._shard_rows(x, y, moment, np.array(where, np.int64), flags)
        if len(x):
            return self._part(moment.world_size)(x, y, np.array(where, np.int64), flags)
        empty = np.zeros(parts.layout(self.problem).size - len(flags), np.float32)
        return tf.constant(np.append(empty, flags))

    def totals(self, vector: Any) -> Total:
        """As Backend."""
        loss_sum, weight, *numbers = parts.tail(self.problem, vector).tolist()
        *totals, examples, squares, inverse, count, first, second = numbers
        found = max(1, round(count))
        return Total(
            loss_sum,
            weight,
            dict(zip(self.task.totals, totals, strict=True)),
            round(examples),
            round(count),
            squares / found,
            found / inverse if inverse else 0.0,
            (first, second),
        )

    def apply(self, vector: Any, steps: int = 0) -> float:
        """As Backend."""
        problem, over = self.problem, self.strategy

        def trace() -> Any:
            return devices.trace_apply(problem, over) if over else parts.trace_apply(problem)

        return float(self._traced("apply", trace)(vector, *self._asked(steps)))

    def variables(self, of: str = "") -> dict[str, Array]:
        """As Backend."""
        return {
            name: np.asarray(variable.numpy(), order="C")
            for name, variable in self._named().items()
            if name.startswith(of)
        }

    def assign(self, tensors: Mapping[str, Array], where: str) -> None:
        """As Backend."""
        named.assign(self._named(), tensors, where)

    def start_from(self, path: Path) -> None:
        """As Backend."""
        predict.assign(self.model, path)

    def save(self, path: Path) -> str:
        """As Backend."""
        return keras_file.write(path, self.model)

    def remarks(self, config: WorkerConfig, split: Split) -> list[str]:
        """As Backend."""
        return remarks.remarks(self, self.problem, config, split)

    def _named(self) -> dict[str, Any]:
        return named.named(self.model, self.optimizer, self.problem.after)

    def _asked(self, steps: int) -> tuple[Array, ...]:
        """The steps before, for traced functions of a problem that asks for them."""
        return (np.array(steps, np.int64),) if self.problem.after else ()

    def _traced(self, name: str, trace: Callable[[], Callable[..., Any]]) -> Callable[..., Any]:
        if name not in self.traced:
            self.traced[name] = trace()
        return self.traced[name]

    def _lone(self) -> Callable[..., Any]:
        size = self.plan.batch_size
        return self._traced(f"lone {size}", lambda: alone.trace_steps(self.problem, size))

    def _part(self, world_size: int) -> Callable[..., Any]:
        """Of a world size; one for all where nothing is compiled for a fixed shape."""
        problem, over = self.problem, self.strategy
        pad = largest_share(self.plan, world_size)
        name = f"part {pad}" if lstm_kernel.fitting(self.model) else "part"

        def trace() -> Any:
            if over:
                return devices.trace_part(problem, pad, over)
            return parts.trace_part(problem, pad)

        return self._traced(name, trace)

    def _run_spread(self, x: Array, y: Any, epoch: int, offset: int, steps: int) -> Array:
        """`run` on several devices: one step after another, whose sums end with the worker."""
        size, found = self.plan.batch_size, []
        for begin in range(0, len(x), size):
            x_here, y_here = gradients.cut((x, y), begin, begin + size)
            moment = Moment(epoch, offset + begin, len(x_here), 0, 1)
            vector = self.share(x_here, y_here, moment, np.zeros(2, np.float32))
            total = self.totals(vector)
            found.append(total.row[0])
            if not np.isfinite(total.loss_sum):
                break
            self.apply(vector, steps + len(found) - 1)
        return np.array(found, np.float32)

    def _shards(self) -> Callable[..., Any]:
        plan = self.plan
        pad = largest_share(plan, plan.virtual_shards)  # of one shard
        name = f"shards {pad}" if lstm_kernel.fitting(self.model) else "shards"
        return self._traced(name, lambda: parts.trace_shards(self.problem, pad))

    def _shard_rows(self, x: Array, y: Any, moment: Moment, where: Array, flags: Array) -> Array:
        """Deterministic mode's result; shards without examples give zeros."""
        plan = self.plan
        begin, end = order.share(moment.rank, moment.world_size, plan.virtual_shards)
        bounds = order.shard_bounds(moment.examples, plan.virtual_shards)[begin : end + 1]
        filled = np.flatnonzero(np.diff(bounds))
        if len(filled):
            edges = np.append(bounds[filled], bounds[-1]) - bounds[0]
            computed = parts.on_host(self._shards()(x, y, edges, where, flags))
            if len(filled) == end - begin:
                return computed
        found = np.zeros((end - begin, parts.layout(self.problem).size), np.float32)
        if len(filled):
            found[filled] = computed
        found[:, -2:] = 0
        found[0, -2:] = flags
        return found


def prepare(
    model: Any, meta: Meta, plan: StepPlan, after: After | None = None
) -> TensorFlowBackend:
    """Trace the training of a model on a dataset's examples; changes no variable.

    A compiled model keeps its optimizer and loss; another gets Adam and the task's loss. In the
    scope of a strategy of `devices`, where the model was built, it spreads over its devices.

    Args:
        model: built, and compiled or not.
        meta: of the dataset.
        plan: of the steps.
        after: what is done to the weights after each of them.

    Raises:
        SpecError: the batch is to change, and the learning rate cannot.
    """
    import keras

    compiled = getattr(model, "optimizer", None) is not None
    optimizer = model.optimizer if compiled else keras.optimizers.Adam(plan.learning_rate)
    optimizer.build(model.trainable_variables)
    randomness.generator_for_all()
    problem = Problem(model, optimizer, ending.loss(model, meta), meta, plan.seed, after)
    rate = optimiser.constant_rate(optimizer)
    if plan.batches and rate is None:
        raise SpecError(
            "batch=adaptive: expected an optimizer with a constant learning rate, which grows with "
            "the batch, got a schedule; give model() a number, or leave batch=fixed"
        )
    made = TensorFlowBackend(model, optimizer, plan, problem, devices.current(), base_rate=rate)
    if plan.deterministic:
        made._shards()
    elif made.strategy:
        made._part(1)
    else:
        made._lone()
    return made
