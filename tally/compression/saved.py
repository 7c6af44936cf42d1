"""A Keras model as a SavedModel that the converter takes in every mode."""

from pathlib import Path
from typing import Any

from tally.compression.structured import graph
from tally.data.format import Meta
from tally.learning.tensorflow import ending

_RECURRENT = ("LSTM", "GRU", "SimpleRNN")


def save(
    model: Any, meta: Meta, folder: Path, *, unroll: bool = True, batch: int | None = None
) -> None:
    """Write the model as `folder`, one signature: inputs as the model's own, answers out.

    Args:
        model: a built keras.Model.
        meta: of its dataset: the input's shape.
        folder: not there yet.
        unroll: recurrent layers step by step, since the converter crashes on some loops.
        batch: examples at once; None: any number, which an unrolled model can be given.
    """
    import tensorflow as tf

    finish = ending.finished(model, meta)  # before the copy, which is compiled no more
    model = unrolled(model) if unroll else model
    kind = tf.int32 if meta.kind == "tokens" else tf.float32
    signature = tf.TensorSpec((batch, *meta.input_shape), kind, name="inputs")

    def serve(inputs: Any) -> dict[str, Any]:
        return {"outputs": finish(model(inputs, training=False))}

    module = tf.Module()
    module.kept = [v.value for v in model.variables]  # the variables that the graph reads
    module.serve = tf.function(serve, input_signature=[signature], autograph=False)
    tf.saved_model.save(module, str(folder), signatures=module.serve.get_concrete_function())


def unrolled(model: Any) -> Any:
    """The same model with recurrent layers unrolled; itself where it has none or cannot be."""
    import keras

    layers = [layer for layer in model.layers if type(layer).__name__ in _RECURRENT]
    if not layers or graph(model) is None:
        return model

    def clone(layer: Any) -> Any:
        config = layer.get_config()
        if layer in layers:
            config["unroll"] = True
        return type(layer).from_config(config)

    made = keras.models.clone_model(model, clone_function=clone)
    made.set_weights(model.get_weights())
    return made
