"""What a person should know of a training before its first step."""

import numpy as np

from tally.data.format import Split
from tally.gang.messages import WorkerConfig
from tally.learning.backend import Backend
from tally.learning.tensorflow import ending, gradients, keras_file, mixing
from tally.learning.tensorflow.gradients import Problem

FEWEST_ROWS = 16  # whose mean and variance a layer can go by


def remarks(training: Backend, problem: Problem, config: WorkerConfig, split: Split) -> list[str]:
    """A line each: what the model ends in, what is kept of it, what its weights depend on.

    Args:
        training: of the problem, traced.
        config: of the worker.
        split: that is trained on.
    """
    found = []
    if activation := ending.missing(problem.model, problem.meta):
        found.append(f"the model ends in logits: its answers are their {activation}")
    if why := keras_file.unloadable(problem.model):
        found.append(
            f"{keras_file.NAME} is left out, since Keras could not load it ({why}); the run keeps "
            f"weights.safetensors for model() of {config.model}; a get_config() would do"
        )
    if config.deterministic:
        return [*found, *_few_rows(problem, config)]
    return [*found, *_size_dependent(training, problem, split)] if config.max_workers > 1 else found


def _size_dependent(training: Backend, problem: Problem, split: Split) -> list[str]:
    line = gradients.size_dependent(problem)
    few = min(mixing.EXAMPLES, len(split), training.plan.batch_size)
    if not line and mixing.mixes(training, problem, *split.gather(np.arange(few))):
        line = gradients.depends(problem, ["one of its layers, or its loss,"])
    return [line] if line else []


def _few_rows(problem: Problem, config: WorkerConfig) -> list[str]:
    """Statistics are a virtual shard's, of how many examples it has."""
    names = gradients.by_statistics(problem)
    rows = config.batch_size // config.virtual_shards
    if not names or rows >= FEWEST_ROWS:
        return []
    enough = [f"batch_size={FEWEST_ROWS * config.virtual_shards}"]
    shards = config.batch_size // FEWEST_ROWS
    if shards >= config.max_workers:
        enough.append(f"virtual_shards={shards}")
    return [
        f"{', '.join(names)}: expected the mean of {FEWEST_ROWS} examples or more, got those of "
        f'{rows}, a virtual shard of the batch; pass SET="{" or ".join(enough)}"'
    ]
