"""Sound as a model sees it: the logarithm of the energy in 32 mel bands, 50 times a second.

Part of the graph, so that a file of the model needs nothing but samples. The bands are differences
of a running sum and no product with weights: energies span nine powers of ten, and a quantised
product would leave only the loudest.

Source: Davis and Mermelstein, IEEE Transactions on Acoustics, Speech and Signal Processing, 1980.
"""

from typing import Any

import numpy as np

from tally.data.audio import RATE_HZ, SAMPLES
from tally.data.content import Array, Meta
from tally.errors import DataError
from tally.models import flops

BANDS = 32
WINDOW, HOP, LENGTH = 400, 320, 512  # samples: 25 ms each 20 ms, and of the Fourier transform
LOWEST_HZ, HIGHEST_HZ = 60, 7_600
FRAMES = 1 + SAMPLES // HOP
_FLOOR = 1e-6  # where silence ends

Tensor = Any


def check(model: str, meta: Meta) -> None:
    """Refuse what is no sound.

    Raises:
        DataError: says what the model takes.
    """
    if meta.kind != "audio" or meta.input_shape != (SAMPLES,):
        raise DataError(
            f"models/{model}: expected sound ({SAMPLES} samples,), got {meta.kind} of shape "
            f"{meta.input_shape} in dataset {meta.name}; choose a dataset of recordings, or "
            "another model"
        )


def features(samples: Tensor) -> Tensor:
    """Samples (n, SAMPLES) of -1 to 1 → (n, FRAMES, BANDS), each recording's mean at 0."""
    from keras import ops

    loud = ops.log(energy(samples) + _FLOOR)
    return loud - ops.mean(loud, axis=(1, 2), keepdims=True)


def energy(samples: Tensor) -> Tensor:
    """Samples (n, SAMPLES) → the mean energy in each band: (n, FRAMES, BANDS)."""
    from keras import ops

    real, imaginary = ops.stft(samples, WINDOW, HOP, LENGTH)
    below = ops.cumsum(ops.square(real) + ops.square(imaginary), axis=-1)
    at = edges()
    upper, lower = (ops.take(below, each, axis=-1) for each in (at[1:], at[:-1]))
    return (upper - lower) / np.diff(at).astype(np.float32)


def edges() -> Array:
    """The bins of the spectrum between which bands lie, equally wide in mel: int (BANDS + 1,)."""
    low, high = (2595 * np.log10(1 + hertz / 700) for hertz in (LOWEST_HZ, HIGHEST_HZ))
    hertz = 700 * (10 ** (np.linspace(low, high, BANDS + 1) / 2595) - 1)
    return np.rint(hertz / (RATE_HZ / LENGTH)).astype(int)


def layers() -> list[flops.LayerCost]:
    """What `features` costs for one example; the Fourier transform is not counted."""
    return [flops.bands(FRAMES, LENGTH, LENGTH // 2 + 1, BANDS), flops.centred(FRAMES * BANDS)]
