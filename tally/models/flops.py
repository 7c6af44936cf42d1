"""Closed-form parameters and floating-point operations of a model, layer by layer. Pure.

Operations are counted as TensorFlow's profiler counts them, so that one can be checked against the
other: a multiply and an add are two, a bias one an element, a maximum over a window its area,
softmax five an element; relu, sigmoid and tanh are not counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class LayerCost:
    """One layer's cost for one example.

    Attributes:
        name: as shown to people.
        output_shape: of one example.
        parameters: trainable numbers.
        forward_flops: operations of one forward pass.
        backward_flops: of one backward pass: the products for the gradient of the weights and,
            unless nothing before the layer is trained, of its input.
    """

    name: str
    output_shape: tuple[int, ...]
    parameters: int
    forward_flops: int
    backward_flops: int


@dataclass(frozen=True)
class ModelCost:
    """A model's cost for one example, the sums of its layers'."""

    layers: tuple[LayerCost, ...]

    @property
    def parameters(self) -> int:
        """Trainable numbers."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def forward_flops(self) -> int:
        """Operations of predicting one example."""
        return sum(layer.forward_flops for layer in self.layers)

    @property
    def train_flops(self) -> int:
        """Operations of one example of a training step, without the optimiser's."""
        return self.forward_flops + sum(layer.backward_flops for layer in self.layers)


def dense(inputs: int, units: int, *, first: bool = False) -> LayerCost:
    """A dense layer with bias; `first`: no gradient is needed of its input."""
    product = 2 * inputs * units
    backward = product * (1 if first else 2) + units
    return LayerCost("dense", (units,), inputs * units + units, product + units, backward)


def conv2d(
    height: int, width: int, channels: int, filters: int, kernel: int, *, first: bool = False
) -> LayerCost:
    """A square convolution, stride 1, without padding (valid), with bias."""
    rows, columns = height - kernel + 1, width - kernel + 1
    outputs = rows * columns * filters
    product = 2 * outputs * kernel * kernel * channels
    parameters = kernel * kernel * channels * filters + filters
    backward = product * (1 if first else 2) + outputs
    return LayerCost("conv2d", (rows, columns, filters), parameters, product + outputs, backward)


def max_pool(height: int, width: int, channels: int, window: int) -> LayerCost:
    """Maximum over square windows that do not overlap; what fills no window is dropped."""
    rows, columns = height // window, width // window
    outputs = rows * columns * channels
    flops = outputs * window * window
    return LayerCost(
        "max_pool", (rows, columns, channels), 0, flops, flops + height * width * channels
    )


def softmax(classes: int) -> LayerCost:
    """Softmax over one row; backward is probability less label, one an element."""
    return LayerCost("softmax", (classes,), 0, 5 * classes, classes)


def relu(shape: Sequence[int]) -> LayerCost:
    """Relu: not counted, like every activation but softmax."""
    return LayerCost("relu", tuple(shape), 0, 0, 0)


def embedding(length: int, vocabulary: int, width: int) -> LayerCost:
    """A lookup: no operation forward, one addition a number backward."""
    return LayerCost("embedding", (length, width), vocabulary * width, 0, length * width)


def lstm(length: int, features: int, units: int, *, first: bool = False) -> LayerCost:
    """An LSTM over a whole sequence: input, forget and output gate and the candidate.

    A step has two products (input and state, each by 4 × units), their sum and the bias, and
    f·c + i·g and o·tanh(c), four an element of the state. Backward has each product twice more,
    less the input's where nothing before it is trained, and about three times the element-wise.

    Source: Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000.
    """
    by_input, by_state = 2 * features * 4 * units, 2 * units * 4 * units
    elementwise = 2 * 4 * units + 4 * units
    parameters = 4 * units * (features + units + 1)
    backward = by_input * (1 if first else 2) + 2 * by_state + 3 * elementwise
    return LayerCost(
        "lstm",
        (length, units),
        parameters,
        length * (by_input + by_state + elementwise),
        length * backward,
    )


def dense_each(length: int, inputs: int, units: int) -> LayerCost:
    """A dense layer with bias at each of `length` places."""
    product = 2 * length * inputs * units
    backward = 2 * product + length * units
    return LayerCost(
        "dense", (length, units), inputs * units + units, product + length * units, backward
    )


def added(elements: int, terms: int) -> LayerCost:
    """A sum of `terms` tensors of so many elements; each gets the gradient as it is."""
    return LayerCost("add", (elements,), 0, (terms - 1) * elements, 0)


def masked_max(length: int, width: int) -> list[LayerCost]:
    """Each place × its mask, and the maximum over all places, which is not counted."""
    elements = length * width
    return [
        LayerCost("mask", (length, width), 0, elements, elements),
        LayerCost("max", (width,), 0, 0, elements),
    ]


def layer_normalization(length: int, width: int) -> LayerCost:
    """Mean and variance over the width at each place, and a scaled and shifted result.

    Source: Ba et al., Layer normalization, 2016. Backward has about twice the operations.
    """
    elements = length * width
    forward = 9 * elements + 4 * length
    return LayerCost("layer_normalization", (length, width), 2 * width, forward, 2 * forward)


def attention(length: int, width: int, heads: int) -> LayerCost:
    """Weights of every place for every place, by head, and what they pick; without projections.

    Two products of 2 × length² × width; a scale, an addend and a softmax (five) an element of the
    weights. Backward has each product twice.

    Source: Vaswani et al., Attention is all you need, 2017, section 3.2.
    """
    product, weights = 2 * length * length * width, heads * length * length
    return LayerCost(
        "attention", (heads, length, length), 0, 2 * product + 7 * weights,
        4 * product + 7 * weights,
    )  # fmt: skip


def bands(frames: int, window: int, bins: int, found: int) -> LayerCost:
    """A window on each frame, its spectrum's squared magnitudes, and their means in bands.

    Neither the Fourier transform nor the running sum is counted.
    """
    flops = frames * (window + 3 * bins + 2 * found)
    return LayerCost("bands", (frames, found), 0, flops, 0)


def centred(elements: int) -> LayerCost:
    """A floor added, the logarithm, its mean, and that taken off."""
    return LayerCost("centred", (elements,), 0, 4 * elements, 0)


def average(places: int, channels: int) -> LayerCost:
    """The mean over all places, channel by channel."""
    return LayerCost("average", (channels,), 0, places * channels, places * channels)
