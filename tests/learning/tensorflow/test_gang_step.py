"""A step shared out among ranks: the same weights for any number of them."""

from typing import Any

import numpy as np
import pytest

from helpers.learning.gang_steps import (
    BATCH,
    EXAMPLES,
    PICTURES,
    X,
    Y,
    alone,
    apart,
    built,
    plan,
    prepared,
    step,
    step_of,
    trained,
    values,
)  # fmt: skip
from tally.data.format import Meta
from tally.learning import order
from tally.learning.moment import Moment, rows
from tally.learning.tensorflow import backend, environment, gradients, mixing
from tally.learning.tensorflow.backend import TensorFlowBackend

pytestmark = pytest.mark.exact

keras = environment.load_keras()
SIZES = {"1": [1], "2": [2], "3": [3], "4": [4], "1 3 2 4": [1, 3, 2, 4]}
STEPS = 60


@pytest.fixture(
    scope="module", params=["cnn", "lstm", pytest.param("random", marks=pytest.mark.slow)]
)
def lone(request: pytest.FixtureRequest) -> TensorFlowBackend:
    """Trained by `run`, many steps in a call."""
    training = prepared(request.param)
    alone(training, STEPS)
    return training


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_a_gang_of_any_size_ends_where_a_lone_worker_does(
    lone: TensorFlowBackend, sizes: list[int]
) -> None:
    training = prepared(lone.model.name)
    trained(training, sizes, STEPS)
    assert apart(training, lone) <= 3e-4
    assert gradients.size_dependent(training.problem) == ""
    assert not mixing.mixes(training, training.problem, X[:4], Y[:4])


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("cnn", marks=pytest.mark.slow),
        pytest.param("lstm", marks=pytest.mark.slow),
        pytest.param("random", marks=pytest.mark.slow),
        pytest.param("batch", marks=pytest.mark.slow),
    ],
)
def test_in_deterministic_mode_no_size_changes_a_bit(name: str) -> None:
    results, steps = [], STEPS if name != "random" else 15  # whose loop is Keras's own: slow
    for sizes in SIZES.values():
        training = prepared(name, deterministic=True)
        losses = trained(training, sizes, steps)
        results.append((losses, {k: v.tobytes() for k, v in values(training).items()}))
    assert all(result == results[0] for result in results[1:])
    if name != "batch":  # whose statistics are a shard's in one mode and a step's in the other
        other = prepared(name)
        alone(other, steps)
        assert apart(training, other) <= 3e-4


@pytest.mark.slow
def test_a_lone_rank_takes_the_steps_of_run() -> None:
    for name in ("cnn", "random"):
        results = []
        for train in (alone, lambda t, steps: trained(t, [1], steps)):
            training = prepared(name)
            results.append((train(training, 10), training))
        np.testing.assert_allclose(results[0][0], results[1][0], rtol=1e-5)
        assert apart(results[0][1], results[1][1]) <= 1e-5


def test_what_layers_keep_is_averaged_by_examples_and_counters_count_steps() -> None:
    ends = {}
    for size in (1, 2, 3):
        training = prepared("batch")
        trained(training, [size], 7)  # an epoch: the last step has 11 examples
        norm, jitter = training.model.layers[1:3]
        ends[size] = norm.moving_mean.numpy()
        assert int(jitter.calls.numpy()) == 7
    scale = np.abs(ends[1]).max()
    # a mean of shares' means, weighted by their examples, is the mean of the step
    np.testing.assert_allclose(ends[2] / scale, ends[1] / scale, atol=2e-2)
    np.testing.assert_allclose(ends[3] / scale, ends[1] / scale, atol=2e-2)
    assert "batch_normalization" in gradients.size_dependent(training.problem)
    assert "jitter" in gradients.size_dependent(training.problem)


@pytest.mark.parametrize("deterministic", [False, True], ids=["default", "deterministic"])
@pytest.mark.parametrize("name", ["lstm", "batch"])
def test_computing_a_part_or_warming_up_changes_no_variable(name: str, deterministic: bool) -> None:
    training = prepared(name, deterministic=deterministic)
    step(training, 0, 0, 2)
    before = {k: v.tobytes() for k, v in values(training).items()}
    moment = Moment(0, 32, 32, 1, 3)
    first, last = rows(training.plan, moment)
    part = (X[first:last], Y[first:last], moment, np.zeros(2, np.float32))
    once, again = (np.array(training.share(*part)) for _ in range(2))
    assert once.tobytes() == again.tobytes(), "an abandoned step is computed again"
    training.warm()
    assert {k: v.tobytes() for k, v in values(training).items() if "seed" not in k} == {
        k: v for k, v in before.items() if "seed" not in k
    }


def test_after_warming_up_nothing_is_traced_or_compiled_any_more() -> None:
    training = prepared("lstm", max_workers=5)
    training.warm()
    known = set(training.traced)
    assert known == {"lone 32", "apply", *(f"part {pad}" for pad in (8, 11, 16, 32))}
    for size in range(1, 6):
        step(training, 0, 192, size)
    assert set(training.traced) == known


def counting(classes: int) -> tuple[Any, Meta]:
    """A model without a hidden layer whose row of weights i is touched by example i alone."""

    def loss(y: Any, outputs: Any) -> Any:
        return keras.ops.sum(outputs, axis=-1)  # its gradient by the weights is the example itself

    model = keras.Sequential(
        [
            keras.Input((1,), dtype="int32"),
            keras.layers.CategoryEncoding(classes, output_mode="one_hot"),
            keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros"),
        ]
    )
    model.compile(keras.optimizers.SGD(1.0), loss)
    return model, Meta(
        "ids", "tokens", (1,), "int32", 1, ("a", "b"), tuple(map(str, range(classes)))
    )


@pytest.mark.parametrize("deterministic", [False, True], ids=["default", "deterministic"])
def test_every_example_is_in_the_weights_exactly_once_an_epoch(deterministic: bool) -> None:
    model, meta = counting(EXAMPLES)
    made = plan(batch_size=BATCH, deterministic=deterministic)
    training = backend.prepare(model, meta, made)
    ids, labels = np.arange(EXAMPLES, dtype=np.int32)[:, None], np.zeros(EXAMPLES, np.int32)
    indices = order.epoch_order(made.seed, 0, EXAMPLES)
    expected = np.zeros(EXAMPLES)
    for number, offset in enumerate(range(0, EXAMPLES, BATCH)):
        size = (1, 3, 2, 4)[number % 4]
        total = step_of(training, ids, labels, indices, 0, offset, size)
        expected[indices[offset : offset + BATCH]] -= 1 / total.examples
    np.testing.assert_allclose(model.weights[0].numpy()[:, 0], expected, rtol=1e-6)


def test_a_step_with_fewer_examples_than_ranks_leaves_some_without_any() -> None:
    for deterministic in (False, True):
        training = prepared("cnn", deterministic=deterministic, max_workers=12)
        indices = np.arange(EXAMPLES)
        total = step_of(training, X[:2], Y[:2], indices[:2], 0, 0, 12)
        assert total.examples == 2
        reference = prepared("cnn")
        reference.run(X[:2], Y[:2], 0, 0)
        assert apart(training, reference) <= 3e-4


@pytest.mark.parametrize("case", ["frozen", "unused", "half precision", "clipped", "embedding"])
def test_what_models_of_users_have_is_shared_out_too(case: str) -> None:
    ends: list[Any] = []
    start = None
    for sizes in (None, [2], [1, 3]):
        model, meta, x = user_model(case)
        # Keras takes seeds from Python's own generator, which threads of other tests draw from too
        start = start or model.get_weights()
        model.set_weights(start)
        training = backend.prepare(model, meta, plan())
        for offset in range(0, 128, BATCH):
            here = slice(offset, offset + BATCH)
            if sizes is None:
                training.run(x[here], Y[here], 0, offset)
            else:
                size = sizes[offset * len(sizes) // 128]
                step_of(training, x[:128], Y[:128], np.arange(128), 0, offset, size)
        ends.append([np.asarray(v.numpy(), np.float64) for v in model.variables])
    tolerance = 5e-3 if case == "half precision" else 3e-4
    for end in ends[1:]:
        for mine, other in zip(end, ends[0], strict=True):
            np.testing.assert_allclose(mine, other, atol=tolerance * np.abs(other).max())


class WithUnused(keras.layers.Dense):
    """A layer of a user's own with a weight that nothing depends on."""

    def build(self, input_shape: Any) -> None:
        self.unused = self.add_weight(name="unused", shape=(3,))
        super().build(input_shape)


def user_model(case: str) -> tuple[Any, Meta, Any]:
    kl = keras.layers
    keras.backend.clear_session()
    keras.utils.set_random_seed(1)
    if case == "embedding":
        meta = Meta("words", "tokens", (6,), "int32", 1, ("a", "b", "c"), tuple("?abcdefgh"))
        layers = [keras.Input((6,), dtype="int32"), kl.Embedding(9, 4), kl.LSTM(5), kl.Dense(3)]
        x = np.random.default_rng(1).integers(0, 9, (EXAMPLES, 6)).astype(np.int32)
        return keras.Sequential([*layers, kl.Softmax()]), meta, x
    policy = "mixed_float16" if case == "half precision" else None
    inputs = keras.Input(PICTURES.input_shape)
    made = WithUnused if case == "unused" else kl.Dense
    hidden = made(16, activation="relu", dtype=policy)(kl.Flatten()(inputs))
    outputs = kl.Dense(3, activation="softmax", dtype="float32")(hidden)
    model = keras.Model(inputs, outputs)
    if case == "frozen":
        model.layers[2].trainable = False
    if case == "clipped":
        model.compile(keras.optimizers.SGD(0.1, momentum=0.9, global_clipnorm=0.5),
                      "categorical_crossentropy")  # fmt: skip
    if case == "half precision":
        inner = keras.optimizers.Adam(0.001)
        model.compile(keras.optimizers.LossScaleOptimizer(inner), "sparse_categorical_crossentropy")
    return model, PICTURES, X


def test_a_loss_that_is_not_finite_is_seen_before_it_is_applied() -> None:
    training = prepared("cnn")
    training.model.layers[-1].kernel.assign(np.full((128, 3), np.nan, np.float32))
    moment = Moment(0, 0, 32, 0, 1)
    vector = training.share(X[:32], Y[:32], moment, np.zeros(2, np.float32))
    assert np.isnan(training.totals(vector).loss_sum)
    assert int(training.optimizer.iterations) == 0


def test_the_model_is_kerass_own_again_after_tracing() -> None:
    model = built("random")
    backend.prepare(model, PICTURES, plan())
    for layer in model._flatten_layers():
        assert not {"call", "inner_loop", "_create_dropout_mask"} & set(vars(layer))
        assert all("next" not in vars(g) for g in layer._seed_generators)
