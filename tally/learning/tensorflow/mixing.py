"""Whether gradients depend on which examples are computed together: tried, not guessed."""

from typing import Any

import numpy as np

from tally.data.format import Array
from tally.learning.backend import Backend
from tally.learning.moment import Moment, rows
from tally.learning.tensorflow import gradients, parts
from tally.learning.tensorflow.gradients import Problem

EXAMPLES = 4  # few, so that what they share is not averaged out
TOLERATED = 0.02  # of the gradients: more than rounding, in bfloat16 too


def mixes(training: Backend, problem: Problem, x: Array, y: Any) -> bool:
    """Whether a step's gradients differ between one worker and two; changes no variable.

    Args:
        training: of the problem, not in deterministic mode, whose shards are the same at any size.
        x, y: EXAMPLES of the training split, as stored; fewer where a batch is.
    """
    plan, found = training.plan, []
    trained = sum(int(np.prod(v.shape)) for v in parts.layout(problem).trained)
    for size in (1, 2):
        whole: Any = 0.0
        for rank in range(size):
            moment = Moment(0, 0, len(x), rank, size)
            x_here, y_here = gradients.cut((x, y), *rows(plan, moment))
            vector = training.share(x_here, y_here, moment, np.zeros(2, np.float32))
            whole = whole + np.array(parts.on_host(vector))
        found.append(whole[:trained])
    one, two = found
    return bool(np.linalg.norm(one - two) > TOLERATED * np.linalg.norm(one))
