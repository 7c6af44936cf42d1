"""A gang in one process: every rank's part computed in turn and summed by hand."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tally.data.format import Array, Meta
from tally.learning import order
from tally.learning.moment import Moment, StepPlan, Total, rows
from tally.learning.tensorflow import backend, environment
from tally.learning.tensorflow.backend import TensorFlowBackend
from tally.models import registry

keras = environment.load_keras()
kl = keras.layers

PICTURES = Meta("pictures", "image", (12, 12, 1), "uint8", 1 / 255, ("a", "b", "c"))
EXAMPLES, BATCH, SEED = 203, 32, 5  # the last step of an epoch has 11, fewer than there are shards
RANDOM = np.random.default_rng(0)
SHAPES = RANDOM.integers(0, 200, (3, 12, 12, 1))
Y = np.arange(EXAMPLES, dtype=np.int32) % 3
# What can be learned: on labels without meaning, one unit that is rounded to the other side of zero
# is enough for Adam to lead elsewhere.
X = (SHAPES[Y] + RANDOM.integers(0, 55, (EXAMPLES, 12, 12, 1))).astype(np.uint8)


def built(name: str) -> Any:
    """A model with the same weights every time."""
    keras.utils.set_random_seed(0)
    if name in MADE:
        return keras.Sequential([keras.Input((12, 12, 1)), *MADE[name]()], name=name)
    return registry.build(name, PICTURES)


def _random_layers() -> list[Any]:
    sequence = [kl.Reshape((12, -1)), kl.LSTM(5, dropout=0.2, recurrent_dropout=0.1)]
    dense = [kl.GaussianNoise(0.1), kl.Dense(31, kernel_regularizer="l2"), kl.Dropout(0.4)]
    return [
        kl.Conv2D(8, 3, padding="same", activation="relu"), kl.SpatialDropout2D(0.2), *sequence,
        *dense, kl.GaussianDropout(0.1), kl.Dense(3, activation="softmax"),
    ]  # fmt: skip


class Jitter(keras.layers.Layer):
    """A random layer of a user's own."""

    def __init__(self) -> None:
        super().__init__()
        self.seed_generator = keras.random.SeedGenerator(3)
        self.calls = self.add_weight(
            name="calls", shape=(), dtype="int32", initializer="zeros", trainable=False
        )

    def call(self, x: Any, training: bool = False) -> Any:
        if not training:
            return x
        self.calls.assign_add(1)
        return x + keras.random.normal(keras.ops.shape(x), stddev=0.1, seed=self.seed_generator)


def _whole_batch_layers() -> list[Any]:
    return [
        kl.Conv2D(4, 3), kl.BatchNormalization(), Jitter(), kl.Flatten(),
        kl.Dropout(0.3), kl.Dense(3, activation="softmax"),
    ]  # fmt: skip


MADE = {"random": _random_layers, "batch": _whole_batch_layers}


def plan(**changes: Any) -> StepPlan:
    values = {"batch_size": BATCH, "learning_rate": 0.001, "seed": SEED, "max_workers": 4}
    return StepPlan(**{**values, **changes})


def prepared(name: str, over: Any = None, **changes: Any) -> TensorFlowBackend:
    """Ready to be trained, on one device or in the scope of a strategy."""
    keras.backend.clear_session()
    if over:
        with over.scope():
            return backend.prepare(built(name), PICTURES, plan(**changes))
    return backend.prepare(built(name), PICTURES, plan(**changes))


def step(training: TensorFlowBackend, epoch: int, offset: int, world_size: int) -> Total:
    """One step of a whole gang; the examples are those of the epoch's order."""
    return step_of(
        training, X, Y, order.epoch_order(SEED, epoch, len(X)), epoch, offset, world_size
    )


def step_of(
    training: TensorFlowBackend,
    x: Array,
    y: Array,
    indices: Array,
    epoch: int,
    offset: int,
    size: int,
) -> Total:
    examples = min(training.plan.batch_size, len(x) - offset)
    found = []
    for rank in range(size):
        moment = Moment(epoch, offset, examples, rank, size)
        first, last = rows(training.plan, moment)
        here = indices[offset + first : offset + last]
        flags = np.array([rank == size - 1, rank], np.float32)
        found.append(np.asarray(training.share(x[here], y[here], moment, flags)))
    if training.plan.deterministic:
        found = list(np.concatenate(found))
    vector = found[0]
    for one in found[1:]:
        vector = vector + one
    total = training.totals(vector)
    assert (total.examples, total.flags) == (examples, (1.0, sum(range(size))))
    training.apply(vector, order.step_number(epoch, offset, len(x), training.plan.batch_size))
    return total


def trained(training: TensorFlowBackend, sizes: Sequence[int], steps: int) -> list[float]:
    """So many steps, the world sizes one after another in equal parts; every step's loss."""
    losses, epoch, offset = [], 0, 0
    for number in range(steps):
        size = sizes[number * len(sizes) // steps]
        losses.append(step(training, epoch, offset, size).loss_sum)
        offset += BATCH
        if offset >= EXAMPLES:
            epoch, offset = epoch + 1, 0
    return losses


def alone(training: TensorFlowBackend, steps: int) -> list[float]:
    """The same steps by `run`, several in a call."""
    losses: list[float] = []
    epoch = 0
    while len(losses) < steps:
        here = order.epoch_order(SEED, epoch, EXAMPLES)[: (steps - len(losses)) * BATCH]
        losses += training.run(X[here], Y[here], epoch, 0, len(losses))[:, 0].tolist()
        epoch += 1
    return losses


def values(training: TensorFlowBackend) -> dict[str, Array]:
    return training.variables()


def apart(training: TensorFlowBackend, other: TensorFlowBackend) -> float:
    """max |Δw| / max |w| over the model's trainable variables."""
    pairs = zip(training.model.trainable_variables, other.model.trainable_variables, strict=True)
    found = [(np.abs(a.numpy() - b.numpy()).max(), np.abs(b.numpy()).max()) for a, b in pairs]
    return float(max(d / m for d, m in found if m))
