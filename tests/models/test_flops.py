"""The closed forms of parameters and operations, against Keras and TensorFlow's profiler."""

import pytest

from tally.data.format import Meta
from tally.models import registry

TEN = tuple("0123456789")
DATASETS = {
    "pictures": Meta("p", "image", (28, 28, 1), "uint8", 1 / 255, TEN),
    "odd pictures": Meta("o", "image", (11, 14, 3), "uint8", 1 / 255, TEN[:3]),
    "text": Meta("t", "tokens", (6,), "int32", 1, TEN[:2], tuple("-?abcdefg")),
    "sound": Meta("w", "audio", (16_000,), "int16", 1 / 32_768, TEN),
    "sequences": Meta("s", "sequence", (7, 5), "float32", 1, TEN[:4]),
}
CASES = [
    ("cnn", "pictures"),
    ("cnn", "odd pictures"),
    *(("lstm", name) for name in ("pictures", "odd pictures", "text", "sequences")),
    ("transformer", "text"),
    ("text_lstm", "text"),
    ("speech_cnn", "sound"),
    ("speech_lstm", "sound"),
]


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
    assert counted == cost.forward_flops + AROUND.get((model, dataset), lambda: 0)()


def test_training_the_reference_cnn_costs_what_pencil_and_paper_say() -> None:
    cost = registry.cost("cnn", DATASETS["pictures"])
    assert cost is not None
    convolution, dense, head = 2 * 26 * 26 * 32 * 9, 2 * 5408 * 128, 2 * 128 * 10
    products = 2 * convolution + 3 * (dense + head)  # no gradient of the picture itself
    assert products < cost.train_flops < 1.1 * products
    assert cost.parameters == 320 + 5408 * 128 + 128 + 1290


LENGTH = 6  # of the text
LOOKUP = 2  # Keras allows for negative tokens: token < 0, token + vocabulary


def picking_tokens() -> int:
    """What the profiler counts of looking tokens up and of choosing the state after the last one.

    Like the other two, it is none of the network's arithmetic.
    """
    units = 128
    mask = 3 * LENGTH  # token ≠ 0, 1 - following, real × that
    states = LENGTH * units + (LENGTH - 1) * units  # × each state, their sum
    return LOOKUP * LENGTH + mask + states


def hashing() -> int:
    """Of the characters and five tables of n-grams, their hashes, and the mask."""
    places = LENGTH + 1
    return 6 * LOOKUP * places + 4 * 2 * places + LENGTH + places


def hashing_and_placing() -> int:
    """The same, the numbers of the places and what attention does not see."""
    places = LENGTH + 1
    return hashing() + places + LOOKUP * places + 2 * places


def framing() -> int:
    """Of where frames begin, the window's own shape, and which sums are a band's edges."""
    frames, window, bands = 51, 400, 32
    begin = 3 + frames + 8 * frames  # a frame is copied in parts of 64 samples
    return begin + 4 * window + 4 + 2 * LOOKUP * bands


AROUND = {
    ("lstm", "text"): picking_tokens,
    ("text_lstm", "text"): hashing,
    ("speech_cnn", "sound"): framing,
    ("speech_lstm", "sound"): framing,
    ("transformer", "text"): hashing_and_placing,
}


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
