"""What bench.steptime compares with: Pollux's step time, whose sync term grows by workers - 2.

The objective is Pollux's own (AdaptDL, goodput.py): root mean squares of the errors of logarithms,
of a pass and of a step, with its small pull of gamma to 1 and of growth to 0; L-BFGS-B, here from
three exponents and the best taken.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from tally.scaling.stepfit import Observation

Array = NDArray[np.float64]
PULL, TINY = 1e-3, 1e-8


def forecast(known: Sequence[Observation], sizes: Sequence[Observation]) -> Array:
    """Seconds of a step of each of the sizes, by Pollux's model fitted to the known rows."""
    columns = sized(known)
    step = np.log([row.step_seconds for row in known])
    own = np.log([max(row.step_seconds - (row.sync_seconds or 0), 1e-6) for row in known])

    def objective(values: Array) -> float:
        whole, grad = predicted(values, columns)
        apart = np.sqrt(np.mean((np.log(grad) - own) ** 2))
        apart += np.sqrt(np.mean((np.log(whole) - step) ** 2))
        growths = (values[3] / values[2]) ** 2 + (values[5] / values[4]) ** 2
        return float(apart + PULL * ((values[6] - 1) ** 2 + growths))

    bounds = [(TINY, None)] * 6 + [(1, 10)]
    found = [
        minimize(
            objective,
            [0.1, 0.01, 0.1, 0.01, 0.1, 0.01, gamma],
            bounds=bounds,
            method="L-BFGS-B",
            options={"maxiter": 2000, "maxfun": 20_000},
        )
        for gamma in (1.001, 2, 4)
    ]
    best = min(found, key=lambda result: result.fun)
    return predicted(best.x, sized(sizes))[0]


def sized(rows: Sequence[Observation]) -> tuple[Array, Array, Array]:
    columns = [(row.workers, row.nodes, row.examples_per_worker) for row in rows]
    workers, nodes, examples = np.array(columns, float).T
    return workers, nodes, examples


def predicted(values: Array, sizes: tuple[Array, Array, Array]) -> tuple[Array, Array]:
    """Seconds of a step and of its pass."""
    workers, nodes, examples = sizes
    a, b, one, one_more, several, several_more, gamma = values
    grad = a + b * examples
    more = np.maximum(workers - 2, TINY)
    sync = np.where(nodes > 1, several + several_more * more, one + one_more * more)
    sync = np.where(workers < 2, TINY, sync)
    return (grad**gamma + sync**gamma) ** (1 / gamma), grad
