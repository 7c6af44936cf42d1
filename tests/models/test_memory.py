"""The closed forms of memory, against Keras's own variables."""

import pytest
from test_flops import CASES, DATASETS

from tally.errors import SpecError
from tally.models import registry
from tally.models.memory import training_memory, update_bytes


@pytest.mark.parametrize(("model", "dataset"), CASES, ids=lambda value: str(value))
def test_weights_and_adams_state_are_what_keras_holds(model: str, dataset: str) -> None:
    import keras

    meta = DATASETS[dataset]
    cost = registry.cost(model, meta)
    assert cost is not None
    built = registry.build(model, meta)
    optimizer = keras.optimizers.Adam()
    optimizer.build(built.trainable_variables)
    need = training_memory(cost, 32, 1)
    assert need.weights == sum(4 * v.value.numpy().size for v in built.trainable_variables)
    slots = [v for v in optimizer.variables if v.shape != ()]
    assert need.optimiser == sum(4 * v.value.numpy().size for v in slots)


def test_activations_grow_with_the_workers_examples_and_weights_do_not() -> None:
    cost = registry.cost("cnn", DATASETS["pictures"])
    assert cost is not None
    one, many = training_memory(cost, 1, 784), training_memory(cost, 1000, 784)
    assert many.activations == 1000 * one.activations
    assert many.weights == one.weights
    # the convolution's and the relu's outputs at least, forward alone
    assert one.activations > 2 * 26 * 26 * 32 * 4


def test_a_simpler_optimiser_holds_and_moves_less() -> None:
    cost = registry.cost("cnn", DATASETS["pictures"])
    assert cost is not None
    assert training_memory(cost, 1, 784, "sgd").optimiser == 0
    assert update_bytes(cost, "sgd") < update_bytes(cost, "momentum") < update_bytes(cost, "adam")
    with pytest.raises(SpecError, match="sgd, momentum"):
        training_memory(cost, 1, 784, "adagrad")
