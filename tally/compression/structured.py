"""Whole filters and units taken out: the same model, dense and smaller, and so faster."""

from typing import Any

import numpy as np

from tally.data.format import Array
from tally.errors import DataError

# Layers whose output k is made of input k alone (along the last axis): what feeds them may shrink.
_PASSING = (
    "MaxPooling1D", "MaxPooling2D", "AveragePooling1D", "AveragePooling2D", "GlobalMaxPooling1D",
    "GlobalMaxPooling2D", "GlobalAveragePooling1D", "GlobalAveragePooling2D", "Dropout",
    "SpatialDropout1D", "SpatialDropout2D", "Activation", "ReLU", "LeakyReLU", "Flatten",
    "BatchNormalization",
)  # fmt: skip
# Operations of keras.ops of which the same holds, with one tensor that shrinks
_PASSING_OPERATIONS = ("Multiply", "Sum", "Mean", "Max", "Relu")
_SHRINKING = {"Dense": "units", "Conv2D": "filters", "Conv1D": "filters", "LSTM": "units",
              "GRU": "units"}  # fmt: skip
_GATES = {"LSTM": 4, "GRU": 3}
_LEAST = 2  # units that stay


def smaller(model: Any, percent: int) -> Any:
    """A new model with so many percent of the filters and units less, those of least weight.

    Only what feeds layers of which it is known how they shrink along: anything else stays whole,
    the outputs always do.

    Args:
        model: a functional or sequential keras.Model; it is left as it is.
        percent: of each layer's filters or units.

    Raises:
        DataError: nothing in it can shrink, or it is a subclass of Model, whose graph is its own.
    """
    import keras

    if graph(model) is None:
        raise DataError(
            f"structured pruning: expected a sequential or functional model, got "
            f"{type(model).__name__}; leave out structured candidates"
        )
    kept = {
        layer.name: _kept(layer, percent) for layer in model.layers if _can_shrink(model, layer)
    }
    if not kept:
        raise DataError(
            f"structured pruning: expected a layer of {', '.join(_SHRINKING)} that feeds another, "
            f"got none in {model.name}; leave out structured candidates"
        )

    def clone(layer: Any) -> Any:
        config = layer.get_config()
        if layer.name in kept:
            config[_SHRINKING[type(layer).__name__]] = len(kept[layer.name])
        return type(layer).from_config(config)

    made = keras.models.clone_model(model, clone_function=clone)
    for layer in model.layers:
        if layer.weights:
            source = _kept_inputs(model, layer, kept)
            weights = _sliced(layer, source, kept.get(layer.name))
            made.get_layer(layer.name).set_weights(weights)
    return made


def graph(model: Any) -> Any:
    """The keras.Function that a sequential or functional model is; None for a subclass's own."""
    import keras

    found = getattr(model, "_functional", model)  # what a built Sequential runs
    return found if isinstance(found, keras.Function) else None


def _consumers(model: Any, operation: Any) -> list[Any]:
    """The operations that take an operation's output."""
    outputs = {id(tensor) for node in operation._inbound_nodes for tensor in node.output_tensors}
    return [
        other
        for other in graph(model).operations
        if any(id(t) in outputs for node in other._inbound_nodes for t in node.input_tensors)
    ]


def _can_shrink(model: Any, layer: Any) -> bool:
    """Whether all that the layer feeds, through what passes it on, is known to shrink along."""
    if type(layer).__name__ not in _SHRINKING or getattr(layer, "groups", 1) != 1:
        return False
    if len(layer._inbound_nodes) != 1:  # shared by several places
        return False
    waiting, seen = [layer], set()
    while waiting:
        operation = waiting.pop()
        consumers = _consumers(model, operation)
        if not consumers:
            return False  # the model's output
        for consumer in consumers:
            name = type(consumer).__name__
            if name in _SHRINKING and getattr(consumer, "groups", 1) == 1:
                continue
            if name not in _PASSING + _PASSING_OPERATIONS or _drops_last_axis(consumer):
                return False
            if id(consumer) not in seen:
                seen.add(id(consumer))
                waiting.append(consumer)
    return True


def _drops_last_axis(operation: Any) -> bool:
    """Whether a sum or the like is over the axis that shrinks."""
    axis = getattr(operation, "axis", None)
    if type(operation).__name__ not in ("Sum", "Mean", "Max"):
        return False
    rank = len(operation._inbound_nodes[0].input_tensors[0].shape)
    axes = [axis] if isinstance(axis, int) else axis
    return axes is None or any(each % rank == rank - 1 for each in axes)


def _kept(layer: Any, percent: int) -> Array:
    """The indexes of the filters or units that stay, ascending: those with the largest norm."""
    name = type(layer).__name__
    kernel = layer.weights[0].numpy() if name not in _GATES else layer.cell.kernel.numpy()
    by_unit = np.abs(kernel).reshape(-1, kernel.shape[-1]).sum(axis=0)
    if gates := _GATES.get(name):
        recurrent = np.abs(layer.cell.recurrent_kernel.numpy()).sum(axis=0)
        by_unit = (by_unit + recurrent).reshape(gates, -1).sum(axis=0)
    stay = max(min(_LEAST, len(by_unit)), round(len(by_unit) * (1 - percent / 100)))
    return np.sort(np.argsort(-by_unit, kind="stable")[:stay])


def _kept_inputs(model: Any, layer: Any, kept: dict[str, Array]) -> Array | None:
    """The indexes of the layer's inputs (last axis) that stay; None: all."""
    tensor = layer._inbound_nodes[0].input_tensors[0]
    return _from(tensor, kept)


def _from(tensor: Any, kept: dict[str, Array]) -> Array | None:
    operation = tensor._keras_history.operation
    if operation.name in kept:
        return kept[str(operation.name)]
    inputs = operation._inbound_nodes[0].input_tensors if operation._inbound_nodes else []
    name = type(operation).__name__
    if name not in _PASSING + _PASSING_OPERATIONS:
        return None
    found = [stay for each in inputs if (stay := _from(each, kept)) is not None]
    if not found:
        return None
    if name != "Flatten":
        return found[0]
    channels = inputs[0].shape[-1]
    places = int(np.prod(inputs[0].shape[1:-1]))
    flat: Array = (np.arange(places)[:, None] * channels + found[0][None, :]).reshape(-1)
    return flat


def _sliced(layer: Any, inputs: Array | None, outputs: Array | None) -> list[Array]:
    """The layer's weights, less what no longer comes in and what no longer goes out."""
    name, weights = type(layer).__name__, [w.numpy() for w in layer.weights]
    if name == "BatchNormalization":
        return weights if inputs is None else [w[inputs] for w in weights]
    if name not in _SHRINKING:
        return weights
    gates = _GATES.get(name)
    columns = outputs
    if gates and outputs is not None:
        units = layer.units
        columns = np.concatenate([gate * units + outputs for gate in range(gates)])
    made = []
    for variable, value in zip(layer.weights, weights, strict=True):
        if variable.name == "recurrent_kernel":
            value = value if outputs is None else value[outputs]
        elif variable.name == "kernel" and inputs is not None:
            value = value[..., inputs, :]
        made.append(value if columns is None else value[..., columns])
    return made
