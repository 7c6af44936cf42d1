"""The closed forms of parameters and operations, against Keras and TensorFlow's profiler."""

import pytest

from tally.data.format import Meta
from tally.models import registry

TEN = tuple("0123456789")
DATASETS = {
    "pictures": Meta("p", "image", (28, 28, 1), "uint8", 1 / 255, TEN),
    "odd pictures": Meta("o", "image", (11, 14, 3), "uint8", 1 / 255, TEN[:3]),
    "text": Meta("t", "tokens", (6,), "int32", 1, TEN[:2], tuple("-?abcdefg")),
    "sequences": Meta("s", "sequence", (7, 5), "float32", 1, TEN[:4]),
}
CASES = [("cnn", "pictures"), ("cnn", "odd pictures"), *(("lstm", name) for name in DATASETS)]


@pytest.mark.parametrize(("model", "dataset"), CASES, ids=lambda value: str(value))
def test_parameters_are_those_that_keras_counts(model: str, dataset: str) -> None:
    meta = DATASETS[dataset]
    cost = registry.cost(model, meta)
    assert cost is not None
    assert cost.parameters == registry.build(model, meta).count_params()


@pytest.mark.parametrize(("model", "dataset"), CASES, ids=lambda value: str(value))
def test_forward_flops_are_those_that_the_profiler_counts(model: str, dataset: str) -> None:
    meta = DATASETS[dataset]
    cost = registry.cost(model, meta)
    assert cost is not None
    built = registry.build(model, meta)
    for layer in built.layers:
        if hasattr(layer, "unroll"):
            layer.unroll = True  # the profiler counts a loop's body once
    counted = profiled_flops(built, meta)
    extra = picking_tokens(meta) if meta.kind == "tokens" else 0
    assert counted == cost.forward_flops + extra


def test_training_the_reference_cnn_costs_what_pencil_and_paper_say() -> None:
    cost = registry.cost("cnn", DATASETS["pictures"])
    assert cost is not None
    convolution, dense, head = 2 * 26 * 26 * 32 * 9, 2 * 5408 * 128, 2 * 128 * 10
    products = 2 * convolution + 3 * (dense + head)  # no gradient of the picture itself
    assert products < cost.train_flops < 1.1 * products
    assert cost.parameters == 320 + 5408 * 128 + 128 + 1290


def picking_tokens(meta: Meta) -> int:
    """What the profiler counts of looking tokens up and of choosing the state after the last one.

    It is none of the network's arithmetic.
    """
    length, units = meta.input_shape[0], 128
    lookup = 2 * length  # Keras allows for negative tokens: token < 0, token + vocabulary
    mask = 3 * length  # token ≠ 0, 1 - following, real × that
    return lookup + mask + length * units + (length - 1) * units  # × each state, their sum


def profiled_flops(model: object, meta: Meta) -> int:
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2,
    )

    dtype = tf.int32 if meta.kind == "tokens" else tf.float32
    function = tf.function(lambda x: model(x, training=False))  # type: ignore[operator]
    concrete = function.get_concrete_function(tf.TensorSpec((1, *meta.input_shape), dtype))
    frozen = convert_variables_to_constants_v2(concrete)
    with tf.Graph().as_default() as graph:
        tf.graph_util.import_graph_def(frozen.graph.as_graph_def(), name="")
        options = tf.compat.v1.profiler.ProfileOptionBuilder(
            tf.compat.v1.profiler.ProfileOptionBuilder.float_operation()
        ).with_empty_output()
        found = tf.compat.v1.profiler.profile(graph, options=options.build())
    return int(found.total_float_ops)
