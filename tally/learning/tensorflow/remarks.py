"""What a person should know of a training before its first step."""

from tally.gang.messages import WorkerConfig
from tally.learning.tensorflow import ending, gradients, keras_file
from tally.learning.tensorflow.gradients import Problem

FEWEST_ROWS = 16  # whose mean and variance a layer can go by


def remarks(problem: Problem, config: WorkerConfig) -> list[str]:
    """A line each: what the model ends in, what is kept of it, what its weights depend on."""
    found = []
    if activation := ending.missing(problem.model, problem.meta):
        found.append(f"the model ends in logits: its answers are their {activation}")
    if why := keras_file.unloadable(problem.model):
        found.append(
            f"{keras_file.NAME} is left out, since Keras could not load it ({why}); the run keeps "
            f"weights.safetensors for model() of {config.model}; a get_config() would do"
        )
    if not config.deterministic:
        return [*found, *_size_dependent(problem, config.max_workers)]
    return [*found, *_few_rows(problem, config)]


def _size_dependent(problem: Problem, most_workers: int) -> list[str]:
    line = gradients.size_dependent(problem)
    return [line] if line and most_workers > 1 else []


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
