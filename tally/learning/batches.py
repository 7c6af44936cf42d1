"""A global batch that grows while training goes on: how much a larger one is worth, and how fast
to go with it. Pure.

With a batch M instead of the user's M0 a step does gain = M/M0 × (B + M0)/(B + M) times as much, B
being the gradient noise scale in examples. Progress counts what was done in examples at M0; a
training of E epochs over N examples is done when it has made E × N of it.
"""

import math
from typing import Literal

Rule = Literal["adascale", "root"]


def reachable(base_batch: int, largest_batch: int) -> tuple[int, ...]:
    """The global batches that a training may have: the user's own, doubled as long as allowed.

    Args:
        base_batch: the user's, in examples.
        largest_batch: 0 where it is the only one.
    """
    found = [base_batch]
    while 2 * found[-1] <= largest_batch:
        found.append(2 * found[-1])
    return tuple(found)


def efficiency(noise_scale_examples: float, base_batch: int, batch: int) -> float:
    """Of what an example is worth at the base batch: (B + M0) / (B + M), 0 to 1.

    Where the noise is not known (not a number) a larger batch is worth no more than the base one.

    Source: McCandlish et al. 2018; Qiao et al., Pollux, OSDI 2021, eq. 7.
    """
    noise = noise_scale_examples if noise_scale_examples > 0 else 0.0
    if batch <= base_batch or math.isinf(noise):
        return 1.0
    return (noise + base_batch) / (noise + batch)


def rate_factor(rule: Rule, noise_scale_examples: float, base_batch: int, batch: int) -> float:
    """What the learning rate is multiplied by: the gain, or for Adam and its like a square root.

    Source: Johnson et al., AdaScale SGD, ICML 2020; for Adam as AdaptDL.
    """
    if rule == "root":
        return math.sqrt(batch / base_batch)
    return batch / base_batch * efficiency(noise_scale_examples, base_batch, batch)
