"""What candidates and a baseline add to a run's evaluate step, before there is any."""

from tally.compression.recipe import parse_all
from tally.costing import overheads
from tally.spec import Spec


def judged(spec: Spec, baseline_seconds: float = 0.0) -> str:
    """What evaluate does beside measuring: it takes as long in runs where this is the same.

    Args:
        spec: of the run: which candidates are made, and how.
        baseline_seconds: that the baseline's answers will take; 0 where they are there.
    """
    recipes = parse_all(spec.candidates)
    tuned = f" × {spec.tuning_epochs:g}" if any(recipe.base for recipe in recipes) else ""
    beside = f", {spec.baseline} made" if baseline_seconds else ""
    return " ".join(recipe.name for recipe in recipes) + tuned + beside


def usual_seconds(
    spec: Spec, examples: int, step_seconds: float, baseline_seconds: float = 0.0
) -> float:
    """What evaluate takes where no run tells it.

    Args:
        spec: of the run.
        examples: of the training split.
        step_seconds: of one worker, at the run's batch: training goes on at about the same pace.
        baseline_seconds: as of `judged`.
    """
    recipes = parse_all(spec.candidates)
    tuned = len({recipe.base for recipe in recipes} - {""})
    epoch = examples / spec.batch_size * step_seconds
    made = overheads.CANDIDATE_SECONDS * len(recipes) + tuned * spec.tuning_epochs * epoch
    return overheads.USUAL_SECONDS["evaluate"] + made + baseline_seconds
