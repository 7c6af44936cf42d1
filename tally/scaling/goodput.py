"""What a step of a larger batch is worth, and progress a second. Pure.

Progress is counted in examples at the base batch: a step of the base batch M0 is worth M0 of them,
a step of M ≥ M0 M0 · gain(M), which is never more than M.
"""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from tally.errors import SpecError

Number = TypeVar("Number", float, NDArray[np.float64])


def efficiency(noise_scale_examples: Number, base_batch: float, batch: float) -> Number:
    """What an example of a batch is worth against one of the base batch: above 0, at most 1.

    Args:
        noise_scale_examples: the gradient noise scale, 0 or more; a number or an array of them.
        base_batch: M0 in examples, the batch that learning rate and epochs were chosen for.
        batch: M in examples, M0 or more.

    Raises:
        SpecError: a base batch below 1, or a batch below the base batch.

    Source: Qiao et al., Pollux, OSDI 2021, eq. 7; McCandlish et al. 2018.
    """
    if not 0 < base_batch <= batch:
        raise SpecError(
            f"efficiency: expected a batch of at least the base batch, got {batch} and "
            f"{base_batch}; ask for the base batch or more"
        )
    return (noise_scale_examples + base_batch) / (noise_scale_examples + batch)


def gain(noise_scale_examples: Number, base_batch: float, batch: float) -> Number:
    """Steps of the base batch that a step of this batch is worth: 1 to batch ÷ base batch."""
    return efficiency(noise_scale_examples, base_batch, batch) * (batch / base_batch)


def goodput(
    noise_scale_examples: Number, base_batch: float, batch: float, step_seconds: float
) -> Number:
    """Progress a second, in examples at the base batch.

    Raises:
        SpecError: as efficiency, and for a step that takes no time.
    """
    if not step_seconds > 0:
        raise SpecError(
            f"goodput: expected a step of more than 0 s, got {step_seconds}; measure one first"
        )
    return efficiency(noise_scale_examples, base_batch, batch) * (batch / step_seconds)
