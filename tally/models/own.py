"""A model of the user's own, out of their file's model(): built, and held against the dataset."""

from typing import TYPE_CHECKING, Any

from tally import usercode, userfile
from tally.data.format import Meta
from tally.data.head import head
from tally.errors import DataError, SpecError

if TYPE_CHECKING:
    import keras


def build(name: str, meta: Meta) -> "keras.Model":
    """The untrained model with all its variables; it may be compiled already.

    Args:
        name: path of the file.
        meta: of the dataset.

    Raises:
        SpecError: there is no such file, or its model() gives no keras.Model.
        UserCodeError: the file, its model() or a layer of theirs fails.
        DataError: the model does not fit the dataset.
    """
    import keras

    make = userfile.function(name, "model")
    with usercode.expected(name, "model() to return a keras.Model", "try it in Python"):
        model = make()
    if not isinstance(model, keras.Model):
        raise SpecError(
            f"{name}: expected model() to return a keras.Model, got {type(model).__name__}; "
            "return the model itself"
        )
    _require_outputs(name, _outputs(name, model, meta), meta)
    return model


def _outputs(name: str, model: "keras.Model", meta: Meta) -> list[Any]:
    """What the model gives for the dataset's examples: symbolic tensors, one for each output."""
    import keras

    shape = f"{meta.input_shape}, those of dataset {meta.name}"
    with usercode.expected(name, f"a model that takes examples of shape {shape}", "change it"):
        if isinstance(model, keras.Sequential) and not model.built:
            model.build((None, *meta.input_shape))
        if not hasattr(model, "outputs"):
            return list(keras.tree.flatten(_traced(model, meta)))
    inputs, wanted = [tuple(each.shape) for each in model.inputs], (None, *meta.input_shape)
    fits = len(inputs) == 1 and len(inputs[0]) == len(wanted)
    if not fits or any(
        size is not None and size != asked for size, asked in zip(inputs[0], wanted, strict=True)
    ):
        got = f"{inputs[0]}" if len(inputs) == 1 else f"{len(inputs)} inputs of shapes {inputs}"
        raise DataError(
            f"{name}: expected a model with one input of shape {wanted}, that of dataset "
            f"{meta.name}, got {got}; change keras.Input to {meta.input_shape}"
        )
    return list(model.outputs)


def _traced(model: "keras.Model", meta: Meta) -> Any:
    """The outputs of a subclass, none of whose variables build() would make."""
    import tensorflow as tf

    dtype = tf.int32 if meta.kind == "tokens" else tf.float32
    signature = [tf.TensorSpec((None, *meta.input_shape), dtype)]
    call = tf.function(
        lambda x: model(x, training=True), input_signature=signature, autograph=False
    )
    return call.get_concrete_function().structured_outputs


def _require_outputs(name: str, outputs: list[Any], meta: Meta) -> None:
    """Refuse a model that does not answer what the dataset's task asks."""
    answer = head(meta).answer
    shape, units = (None, *answer), answer[-1]
    found = [tuple(output.shape) for output in outputs]
    wanted = f"one output of shape {shape}, for {meta.task} of dataset {meta.name}"
    if len(found) != 1:
        raise DataError(
            f"{name}: expected a model with {wanted}, got {len(found)} outputs of shapes {found}; "
            f"return one of them, that ends with Dense({units})"
        )
    fits = len(found[0]) == len(shape)
    if not fits or any(
        size not in (None, asked) for size, asked in zip(found[0], shape, strict=True)
    ):
        lone = found[0] == (None, 1) and answer == (2,)
        why = "one unit for two classes is not supported: " if lone else ""
        raise DataError(
            f"{name}: expected a model with {wanted}, got {found[0]}; {why}end it with "
            f"Dense({units})"
        )
