"""Training steps: many in one TensorFlow call for a lone worker, or one as a gang's share.

A step is gradients → (a gang's sum over its ranks stands here) → apply; gradients are sums over
examples divided by the step's true size, so that shares of a step add up to the whole.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tally.data.format import Array, Meta
from tally.errors import SpecError
from tally.learning import batches, order
from tally.learning.moment import NOISE_STEPS, Moment, StepPlan, Total, largest_share, rows
from tally.learning.tensorflow import (
    alone,
    devices,
    gradients,
    lstm_kernel,
    optimiser,
    parts,
    randomness,
)
from tally.learning.tensorflow.gradients import Problem
from tally.tasks import registry

Tensor = Any


@dataclass(frozen=True)
class Training:
    """A model that is ready to be trained.

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


def prepare(model: Any, meta: Meta, plan: StepPlan) -> Training:
    """Trace the training of a model on a dataset's examples; changes no variable.

    A compiled model keeps its optimizer and loss; another gets Adam and cross-entropy. In the scope
    of a strategy of `devices`, where the model was built, it spreads over its devices.
    """
    import keras

    compiled = getattr(model, "optimizer", None) is not None
    optimizer = model.optimizer if compiled else keras.optimizers.Adam(plan.learning_rate)
    optimizer.build(model.trainable_variables)
    randomness.generator_for_all()
    loss = registry.named(meta.task).loss(meta.facts, model.loss if compiled else None)
    problem = Problem(model, optimizer, loss, meta, plan.seed)
    rate = optimiser.constant_rate(optimizer)
    training = Training(model, optimizer, plan, problem, devices.current(), base_rate=rate)
    if plan.batches and rate is None:
        raise SpecError(
            "batch=adaptive: expected an optimizer with a constant learning rate, which grows with "
            "the batch, got a schedule; give model() a number, or leave batch=fixed"
        )
    if plan.deterministic:
        _shards(training)
    elif training.strategy:
        _part(training, 1)
    else:
        _lone(training)
    return training


def sized(training: Training, batch_size: int) -> Training:
    """The same training with steps of another global batch; variables and functions are shared."""
    return replace(training, plan=replace(training.plan, batch_size=batch_size))


def use_rate(training: Training, noise_scale_examples: float, base_batch: int) -> None:
    """Set the learning rate for the training's batch.

    Args:
        training: its base_rate is a number.
        noise_scale_examples: nan where it is not known.
        base_batch: the user's batch, that the rate was given for.
    """
    import keras

    assert training.base_rate is not None
    sgd = isinstance(training.optimizer, keras.optimizers.SGD)
    factor = batches.rate_factor(
        "adascale" if sgd else "root", noise_scale_examples, base_batch, training.plan.batch_size
    )
    if optimiser.rate_of(training.optimizer) != np.float32(training.base_rate * factor):
        training.optimizer.learning_rate = training.base_rate * factor


def run(training: Training, x: Array, y: Any, epoch: int, offset: int) -> Array:
    """Train alone on consecutive batches, one optimiser step each; not in deterministic mode.

    Args:
        training: its variables are updated.
        x: (n, *input_shape) as stored; n may be any multiple of the batch size, and beyond one
            only at the end of an epoch.
        y: the targets, of n examples.
        epoch, offset: where in the epoch's order x begins.

    Returns:
        What each step adds up to, float32 (steps, 2 + totals): loss, its weight, the task's totals.
        It ends with the first step whose loss is not finite: no later one was done.
    """
    if training.strategy:
        return _run_spread(training, x, y, epoch, offset)
    steps, sums = _lone(training)(x, y, np.array([epoch, offset], np.int64))
    return sums.numpy()[: int(steps)]  # type: ignore[no-any-return]


def compute(
    training: Training, x: Array, y: Any, moment: Moment, flags: Array, measured: bool = False
) -> Any:
    """This rank's part of a step; changes no variable.

    Args:
        training: what is trained.
        x, y: the examples of `rows`, x as stored.
        moment: which step, and whose part of it.
        flags: float32 (2,): added up over the ranks.
        measured: the gradients' noise, even if it is not this step's turn.

    Returns:
        A float32 tensor (size,), laid out as `parts` says; in deterministic mode an array of
        one such row for each virtual shard of this rank, the flags in the first.
    """
    import tensorflow as tf

    plan, (first, _) = training.plan, rows(training.plan, moment)
    measured = measured or moment.offset // plan.batch_size % NOISE_STEPS == 0
    where = [moment.epoch, moment.offset + first, moment.examples, measured]
    if plan.deterministic:
        return _shard_rows(training, x, y, moment, np.array(where, np.int64), flags)
    if len(x):
        return _part(training, moment.world_size)(x, y, np.array(where, np.int64), flags)
    empty = np.zeros(parts.layout(training.problem).size - len(flags), np.float32)
    return tf.constant(np.append(empty, flags))


def totals(training: Training, vector: Any) -> Total:
    """What the sum of a step's parts says, without applying it."""
    loss_sum, weight, *numbers = parts.tail(training.problem, vector).tolist()
    *totals, examples, squares, inverse, count, first, second = numbers
    found = max(1, round(count))
    return Total(
        loss_sum,
        weight,
        dict(zip(training.problem.task.totals, totals, strict=True)),
        round(examples),
        round(count),
        squares / found,
        found / inverse if inverse else 0.0,
        (first, second),
    )


def apply(training: Training, vector: Any) -> float:
    """Take the step: put the sum of its parts into the variables.

    Returns:
        The squared norm of its gradient, as the optimizer saw it; 0 where that is not measured.
    """
    problem, over = training.problem, training.strategy

    def trace() -> Any:
        return devices.trace_apply(problem, over) if over else parts.trace_apply(problem)

    return float(_traced(training, "apply", trace)(vector))


def size_dependent(training: Training) -> str:
    """One line about layers that make a default gang's result depend on its size, or ""."""
    return gradients.size_dependent(training.problem)


def warm(training: Training) -> None:
    """Trace and compile every shape that gangs of 1 … max_workers bring; changes no variable.

    It takes real steps on zeros, and puts back every variable as it was.
    """
    kept = {name: v.numpy() for name, v in variables(training).items()}
    met: set[int] = set()
    for batch_size in training.plan.batches or (training.plan.batch_size,):
        _warm_batch(sized(training, batch_size), met)
    for name, variable in variables(training).items():
        variable.assign(kept[name])


def _warm_batch(training: Training, met: set[int]) -> None:
    """Every shape of one global batch; `met` are those that were met before."""
    plan, meta = training.plan, training.problem.meta
    x = np.zeros((plan.batch_size, *meta.input_shape), meta.input_dtype)
    y = gradients.nothing(training.problem, plan.batch_size)
    if not plan.deterministic:
        run(training, x, y, 0, 0)
    halves = 2 if plan.batches and plan.virtual_shards > 1 else 1  # as a lone worker measures noise
    most = max(plan.max_workers, halves)
    for world_size in range(1, most + 1):
        moment = Moment(0, 0, plan.batch_size, world_size - 1, world_size)
        shards = plan.virtual_shards if plan.deterministic else world_size
        pad = largest_share(training.plan, shards)
        if (most > 1 or plan.deterministic) and pad not in met:
            met.add(pad)
            first, last = rows(plan, moment)
            x_here, y_here = gradients.cut((x, y), first, last)
            vector = compute(training, x_here, y_here, moment, np.zeros(2, "f4"))
            apply(training, vector.sum(0) if plan.deterministic else vector)


def variables(training: Training) -> dict[str, Any]:
    """Every variable that a checkpoint must hold, by a name that is the same in every process."""
    found = {f"model/{i:04d}.{v.name}": v for i, v in enumerate(training.model.variables)}
    for i, variable in enumerate(training.optimizer.variables):
        found[f"optimizer/{i:04d}.{variable.name}"] = variable
    return found


def assign(targets: dict[str, Any], tensors: dict[str, Array], where: str) -> None:
    """Set variables by name.

    Raises:
        SpecError: the tensors are another model's; nothing was set.
    """
    wanted = {name: tuple(variable.shape) for name, variable in targets.items()}
    found = {name: value.shape for name, value in tensors.items()}
    if wanted != found:
        odd = sorted(wanted.items() ^ found.items())[0][0]
        raise SpecError(
            f"{where}: expected the variables of this model, got others (first: {odd}, "
            f"{found.get(odd)} instead of {wanted.get(odd)}); submit a new run"
        )
    for name, variable in targets.items():
        variable.assign(tensors[name])


def _traced(
    training: Training, name: str, trace: Callable[[], Callable[..., Any]]
) -> Callable[..., Any]:
    if name not in training.traced:
        training.traced[name] = trace()
    return training.traced[name]


def _lone(training: Training) -> Callable[..., Any]:
    batch_size = training.plan.batch_size
    return _traced(
        training, f"lone {batch_size}", lambda: alone.trace_steps(training.problem, batch_size)
    )


def _part(training: Training, world_size: int) -> Callable[..., Any]:
    """Of a world size; one for all where nothing is compiled for a fixed shape."""
    problem, over = training.problem, training.strategy
    pad = largest_share(training.plan, world_size)
    name = f"part {pad}" if lstm_kernel.fitting(training.model) else "part"

    def trace() -> Any:
        return devices.trace_part(problem, pad, over) if over else parts.trace_part(problem, pad)

    return _traced(training, name, trace)


def _run_spread(training: Training, x: Array, y: Any, epoch: int, offset: int) -> Array:
    """`run` on several devices: one step after another, whose sums end with the worker."""
    size, found = training.plan.batch_size, []
    for begin in range(0, len(x), size):
        x_here, y_here = gradients.cut((x, y), begin, begin + size)
        moment = Moment(epoch, offset + begin, len(x_here), 0, 1)
        vector = compute(training, x_here, y_here, moment, np.zeros(2, np.float32))
        total = totals(training, vector)
        found.append(total.row[0])
        if not np.isfinite(total.loss_sum):
            break
        apply(training, vector)
    return np.array(found, np.float32)


def _shards(training: Training) -> Callable[..., Any]:
    plan = training.plan
    pad = largest_share(plan, plan.virtual_shards)  # of one shard
    name = f"shards {pad}" if lstm_kernel.fitting(training.model) else "shards"
    return _traced(training, name, lambda: parts.trace_shards(training.problem, pad))


def _shard_rows(
    training: Training, x: Array, y: Any, moment: Moment, where: Array, flags: Array
) -> Array:
    """Deterministic mode's result; shards without examples give zeros."""
    plan = training.plan
    begin, end = order.share(moment.rank, moment.world_size, plan.virtual_shards)
    bounds = order.shard_bounds(moment.examples, plan.virtual_shards)[begin : end + 1]
    filled = np.flatnonzero(np.diff(bounds))
    if len(filled):
        edges = np.append(bounds[filled], bounds[-1]) - bounds[0]
        computed = parts.on_host(_shards(training)(x, y, edges, where, flags))
        if len(filled) == end - begin:
            return computed
    found = np.zeros((end - begin, parts.layout(training.problem).size), np.float32)
    if len(filled):
        found[filled] = computed
    found[:, -2:] = 0
    found[0, -2:] = flags
    return found
