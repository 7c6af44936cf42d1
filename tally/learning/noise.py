"""How noisy gradients are: the batch size beyond which a larger one buys little.

McCandlish et al. 2018, "An Empirical Model of Large-Batch Training", appendix A: the squared norms
of a small batch's gradient and of a large one's, which is their mean, tell what is signal and what
is noise. A step of a gang has both for nothing. Pure.
"""

import math
from dataclasses import dataclass

DECAY = 0.95  # of the averages: the last twenty steps that were measured


@dataclass(frozen=True)
class GradientNoise:
    """Averages over steps; only their ratio means something.

    Attributes:
        signal: of the squared norm of the true gradient.
        variance: of an example's gradient around it, summed over its numbers.
    """

    signal: float = 0.0
    variance: float = 0.0

    @property
    def scale_examples(self) -> float:
        """The gradient noise scale in examples; nan while it is not known."""
        return self.variance / self.signal if self.signal > 0 < self.variance else math.nan


UNKNOWN = GradientNoise()


def averaged(
    noise: GradientNoise,
    small_squares: float,
    small_examples: float,
    big_squares: float,
    big_examples: float,
) -> GradientNoise:
    """The averages after one more step.

    Args:
        noise: before it.
        small_squares: the mean over the step's parts of their gradients' squared norms.
        small_examples: the harmonic mean of the parts' examples.
        big_squares: the squared norm of the step's gradient.
        big_examples: of the step; a step in one part (as many as `small_examples`) says nothing.
    """
    if not 0 < small_examples < big_examples or not math.isfinite(small_squares + big_squares):
        return noise
    between = big_examples - small_examples
    signal = (big_examples * big_squares - small_examples * small_squares) / between
    variance = (small_squares - big_squares) / (1 / small_examples - 1 / big_examples)
    return GradientNoise(
        DECAY * noise.signal + (1 - DECAY) * signal,
        DECAY * noise.variance + (1 - DECAY) * variance,
    )
