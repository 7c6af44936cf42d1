"""The loop: the same weights however steps are grouped, and the same as Keras's own arithmetic."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers.learning.made_training import EXAMPLES, config, pictures, words
from tally.data.format import Array, Dataset, Meta, Split, open_dataset
from tally.errors import DataError, RunError, SpecError
from tally.gang.coordinator.events import Observation
from tally.gang.messages import EpochEnd, Message, Saved
from tally.learning import checkpoint, elastic, order, output, state, stepping
from tally.learning.moment import StepPlan
from tally.learning.position import Position
from tally.learning.saving import Saver
from tally.learning.standing import Place, Standing
from tally.learning.tensorflow import backend, environment, gradients, predict
from tally.learning.tensorflow.backend import TensorFlowBackend
from tally.models import registry

pytestmark = pytest.mark.exact

keras = environment.load_keras()
BATCH = 32


@pytest.fixture(scope="module", params=["cnn", "lstm"])
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """(dataset, its training ready, the values it starts from)."""
    make = pictures if request.param == "cnn" else words
    dataset = open_dataset(make(tmp_path_factory.mktemp("data") / "set"))
    keras.utils.set_random_seed(0)
    training = backend.prepare(
        registry.build(request.param, dataset.meta), dataset.meta, plan(BATCH)
    )
    return dataset, training, values(training)


def plan(batch_size: int, learning_rate: float = 0.001) -> StepPlan:
    return StepPlan(batch_size=batch_size, learning_rate=learning_rate, seed=7)


def values(training: TensorFlowBackend) -> dict[str, Array]:
    return training.variables()


def epoch(dataset: Dataset, training: TensorFlowBackend, cuts: Sequence[int]) -> list[float]:
    """One epoch, a new call after each of `cuts` steps; every step's loss."""
    indices = order.epoch_order(7, 0, len(dataset.splits["train"]))
    edges = [0, *(cut * BATCH for cut in cuts), len(indices)]
    losses = []
    for begin, end in itertools.pairwise(edges):
        x, y = dataset.splits["train"].gather(indices[begin:end])
        losses += training.run(x, y, 0, begin)[:, 0].tolist()
    return losses


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(cuts=st.sets(st.integers(1, EXAMPLES // BATCH), max_size=8))
def test_no_grouping_of_steps_changes_a_bit(trained: Any, cuts: set[int]) -> None:
    dataset, training, start = trained
    results = []
    for grouping in ([], sorted(cuts)):
        training.assign(start, "test")
        losses = epoch(dataset, training, grouping)
        results.append((losses, {name: v.tobytes() for name, v in values(training).items()}))
    assert results[0] == results[1]
    assert len(results[0][0]) == order.steps_per_epoch(EXAMPLES, BATCH)


def test_an_epoch_is_what_keras_computes_step_by_step_tail_included(trained: Any) -> None:
    dataset, training, start = trained
    training.assign(start, "test")
    ours = epoch(dataset, training, [5])
    reference = registry.build(training.model.name, dataset.meta)
    for variable, value in zip(
        reference.variables, [start[n] for n in sorted(start) if n < "o"], strict=True
    ):
        variable.assign(value)
    theirs = kerass_epoch(dataset, reference)
    np.testing.assert_allclose(ours, theirs, rtol=2e-3, atol=1e-3)
    for mine, other in zip(training.model.variables, reference.variables, strict=True):
        np.testing.assert_allclose(mine.numpy(), other.numpy(), atol=1e-3)


def kerass_epoch(dataset: Dataset, model: Any) -> list[float]:
    """One epoch by Keras's layers and Adam, one step after another; every step's summed loss."""
    import tensorflow as tf

    optimizer, losses = keras.optimizers.Adam(0.001), []
    variables = model.trainable_variables
    indices = order.epoch_order(7, 0, EXAMPLES)
    for begin in range(0, EXAMPLES, BATCH):
        x, y = dataset.splits["train"].gather(indices[begin : begin + BATCH])
        x = x if dataset.meta.kind == "tokens" else x.astype(np.float32) / np.float32(255)
        with tf.GradientTape() as tape:
            found = keras.losses.sparse_categorical_crossentropy(y, model(x, training=True))
            loss = tf.reduce_mean(found)
        gradients = tape.gradient(loss, [v.value for v in variables])
        optimizer.apply([tf.convert_to_tensor(g) for g in gradients], variables)
        losses.append(float(tf.reduce_sum(found)))
    return losses


class Watched(Split):
    """A split that remembers which examples were asked for."""

    def gather(self, indices: Array) -> tuple[Array, Array]:
        asked.append(indices.copy())
        return super().gather(indices)


asked: list[Array] = []


class Heard:
    """An outside that pauses after so many calls, and keeps what it is told."""

    def __init__(self, saver: Saver) -> None:
        self.left, self.said, self.save = 0, list[Message](), saver.save

    def paused(self) -> bool:
        self.left -= 1
        return self.left < 0

    def stopping(self) -> bool:
        return False

    def tell(self, message: Message) -> None:
        self.said.append(message)

    def observe(self, observation: Observation) -> None:
        assert observation.examples_per_second > 0


@pytest.mark.parametrize("trained", ["cnn"], indirect=True)
@settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(stops=st.lists(st.integers(1, 12), max_size=4))
def test_every_example_counts_once_an_epoch_whenever_it_is_stopped(
    trained: Any, stops: list[int], tmp_path: Path
) -> None:
    dataset, training, start = trained
    training.assign(start, "test")
    split = Watched(dataset.splits["train"].shards)
    wanted = config(tmp_path, dataset.folder, epochs=2)
    asked.clear()
    told: list[Message] = []
    saver, standing = Saver(wanted, training, {}, told.append), Standing(Position())
    outside = Heard(saver)
    for stop in [*stops, 10**9]:
        outside.left = stop
        elastic.train(wanted, training, split, standing, Place(), None, outside)
    saver.wait()
    assert standing.position.epoch == 2
    assert standing.position.examples_trained == 2 * EXAMPLES
    seen = np.concatenate(asked)
    for number in range(2):
        once = seen[number * EXAMPLES : (number + 1) * EXAMPLES]
        np.testing.assert_array_equal(once, order.epoch_order(wanted.seed, number, EXAMPLES))
    assert [m.epoch for m in outside.said if isinstance(m, EpochEnd)] == [0, 1]
    saved = [m for m in told if isinstance(m, Saved)][-1]
    assert (saved.epoch, saved.offset) == (2, 0)


def test_the_next_call_is_as_long_as_asked_for_and_small_enough() -> None:
    assert stepping.next_steps(1, 1.0, 1000) == 1
    assert stepping.next_steps(1, 0.0001, 1000) == 4, "the first calls say little: grow slowly"
    assert stepping.next_steps(100, 0.3, 1000) == 50
    assert stepping.next_steps(8, 0.001, 16 * stepping.CALL_BYTES) == 1


PLAIN = Meta("plain", "sequence", (4, 3), "float32", 1.0, ("a", "b", "c"))


def plain_model(loss: Any, **options: Any) -> Any:
    keras.utils.set_random_seed(2)
    layers = [keras.Input((4, 3)), keras.layers.Flatten()]
    model = keras.Sequential([*layers, keras.layers.Dense(3, activation="softmax", **options)])
    if loss is not None:
        model.compile(keras.optimizers.Adam(0.05), loss)
    return model


def examples() -> tuple[Array, Array]:
    random = np.random.default_rng(0)
    return random.normal(size=(20, 4, 3)).astype(np.float32), np.arange(20, dtype=np.int32) % 3


@pytest.mark.parametrize(
    "loss",
    [
        "sparse_categorical_crossentropy",
        "categorical_crossentropy",
        keras.losses.CategoricalCrossentropy(),
        keras.losses.SparseCategoricalCrossentropy(),
        lambda y, p: keras.losses.sparse_categorical_crossentropy(y, p),
    ],
    ids=["sparse", "one-hot", "one-hot object", "sparse object", "function of the user's"],
)
def test_a_users_loss_gets_labels_as_it_wants_them(loss: Any) -> None:
    results = []
    for given_loss in (None, loss):
        training = backend.prepare(plain_model(given_loss), PLAIN, plan(8, 0.05))
        losses = training.run(*examples(), 0, 0)[:, 0]
        results.append((losses, training.model.get_weights()))
    np.testing.assert_allclose(results[0][0], results[1][0], rtol=1e-5)
    for ours, theirs in zip(results[0][1], results[1][1], strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize(
    "options",
    [{}, {"kernel_regularizer": "l2"}, {"kernel_constraint": "non_neg"}],
    ids=["plain", "regularised", "constrained"],
)
def test_adam_is_kerass_adam(options: dict[str, str]) -> None:
    training = backend.prepare(plain_model(None, **options), PLAIN, plan(8, 0.05))
    reference = plain_model("sparse_categorical_crossentropy", **options)
    x, y = examples()
    for begin in (0, 8, 16, 0, 8):
        here = slice(begin, begin + 8)
        training.run(x[here], y[here], 0, 0)
        reference.train_on_batch(x[here], y[here])
    for ours, theirs in zip(training.model.variables, reference.variables, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), atol=2e-6)
    assert int(training.optimizer.iterations) == 5


def test_a_sequence_kernel_has_kerass_outputs_and_gradients() -> None:
    import tensorflow as tf

    from tally.learning.tensorflow import lstm_kernel

    keras.utils.set_random_seed(1)
    inputs = keras.Input((5, 3))
    outputs, h, c = keras.layers.LSTM(4, return_sequences=True, return_state=True)(inputs)
    last = keras.layers.LSTM(2)(outputs, initial_state=[h[:, :2], c[:, 2:]])
    model = keras.Model(inputs, keras.ops.concatenate([last, h, c], axis=1))
    x = np.random.default_rng(0).normal(size=(6, 5, 3)).astype(np.float32)

    @tf.function
    def run(x: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            found = model(x, training=True)
            loss = tf.reduce_sum(found * tf.range(1.0, 11.0))
        return found, tape.gradient(loss, [x, *(v.value for v in model.trainable_variables)])

    expected = run(tf.constant(x))
    assert len(lstm_kernel.fitting(model)) == 2
    with lstm_kernel.fused(model, 8):  # a smaller batch than 8 is padded
        found = tf.function(run.python_function)(tf.constant(x))
    for ours, theirs in zip(tf.nest.flatten(found), tf.nest.flatten(expected), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-5)
    assert all("inner_loop" not in vars(layer) for layer in model.layers)


def test_training_stops_at_the_first_step_that_is_not_finite(tmp_path: Path) -> None:
    x, y = examples()
    x[9] = np.inf
    training = backend.prepare(plain_model(None), PLAIN, plan(8, 0.05))
    losses, weights, correct = training.run(x, y, 0, 0).T
    assert len(losses) == 2
    assert weights.tolist() == [8, 8]
    assert all(0 <= right <= 8 for right in correct)
    assert np.isfinite(losses[0])
    assert not np.isfinite(losses[1])
    wanted = config(tmp_path, pictures(tmp_path / "set", 20), batch_size=8, learning_rate=0.05)
    with pytest.raises(RunError, match=r"a finite weight, got nan.*SET=\"learning_rate=0.005\""):
        Saver(wanted, training, {}, lambda _: None).save(Position())
    assert not Path(wanted.checkpoint_folder).exists()


def test_a_written_model_is_loaded_with_the_same_answers(trained: Any, tmp_path: Path) -> None:
    dataset, training, start = trained
    training.assign(start, "test")
    epoch(dataset, training, [])
    done = Position(
        1, 0, examples_trained=EXAMPLES, history=(EpochEnd(0, 0.5, 1.0, {"accuracy": 0.5}),)
    )
    output.write(tmp_path, training, done, lambda line: pytest.fail(line))
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "model.keras",
        "training.json",
        "weights.safetensors",
    ]
    test = dataset.splits["test"]
    model = predict.load(training.model.name, dataset.meta, tmp_path)
    found = predict.answers(model, test, dataset.meta, batch_size=25)
    assert found.shape == (60, len(dataset.meta.class_names))
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
    x, _ = test.gather(np.arange(60))
    for same in (training.model, keras.models.load_model(tmp_path / "model.keras")):
        expected = same(np.asarray(gradients.scaled(x, dataset.meta)), training=False)
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_another_models_weights_are_refused(tmp_path: Path) -> None:
    training = backend.prepare(plain_model(None), PLAIN, plan(8, 0.05))
    done = Position(1, 0, history=(EpochEnd(0, 0.5, 1.0, {"accuracy": 0.5}),))
    output.write(tmp_path, training, done, lambda line: pytest.fail(line))
    with pytest.raises(DataError, match="run the train step again"):
        predict.load("lstm", PLAIN, tmp_path)
    with pytest.raises(DataError, match="run the train step again"):
        predict.load("lstm", PLAIN, tmp_path / "nowhere")
    other = backend.prepare(plain_model(None, use_bias=False), PLAIN, plan(8, 0.05))
    with pytest.raises(SpecError, match="expected the variables of this model"):
        other.assign(values(training), "checkpoints")


def test_arrays_come_in_of_any_order_in_memory_and_go_out_in_c_order(tmp_path: Path) -> None:
    keras.backend.clear_session()  # which counts the names of layers
    training = backend.prepare(plain_model(None), PLAIN, plan(8, 0.05))
    kernel = "model/0000.kernel"
    turned = {name: np.full_like(value, 3) for name, value in values(training).items()}
    turned[kernel] = np.arange(36, dtype=np.float32).reshape(3, 12).T
    wrong = safetensors.numpy.load(safetensors.numpy.save(turned))[kernel]
    assert not np.array_equal(wrong, turned[kernel]), "why a backend has to see to it"
    training.assign(turned, "test")
    assert all(value.flags.c_contiguous for value in values(training).values())
    made = checkpoint.Checkpoint({}, Position(), 0, values(training))
    checkpoint.save(tmp_path, made)
    kept = checkpoint.latest(tmp_path, pytest.fail)
    assert kept is not None
    keras.backend.clear_session()
    other = backend.prepare(plain_model(None), PLAIN, plan(8, 0.05))
    state.unpack(other, state.pack(training, Position()))
    for found in (kept.tensors, values(other)):
        assert found.keys() == turned.keys()
        for name, value in turned.items():
            assert (found[name].dtype, found[name].shape) == (value.dtype, value.shape)
            np.testing.assert_array_equal(found[name], value)


def test_only_what_is_asked_for_is_copied() -> None:
    training = backend.prepare(plain_model(None), PLAIN, plan(8, 0.05))
    whole = values(training)
    parts = training.variables("model/") | training.variables("optimizer/")
    assert parts.keys() == whole.keys()
    assert training.variables("model/").keys() == {"model/0000.kernel", "model/0001.bias"}
