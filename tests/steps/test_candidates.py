"""What candidates add to evaluate's time."""

import pytest

from tally.costing.overheads import CANDIDATE_SECONDS, USUAL_SECONDS
from tally.spec import Spec
from tally.steps.candidates import judged, usual_seconds


def test_those_that_train_on_take_that_time_once_a_base() -> None:
    none = usual_seconds(Spec(candidates=""), 3200, 0.01)
    assert none == USUAL_SECONDS["evaluate"]
    plain = usual_seconds(Spec(candidates="float32 int8"), 3200, 0.01)
    assert plain == pytest.approx(none + 2 * CANDIDATE_SECONDS)
    words = "pruned50 pruned50+int8 structured50"
    tuned = usual_seconds(Spec(candidates=words, tuning_epochs=3), 3200, 0.01)
    assert tuned == pytest.approx(none + 3 * CANDIDATE_SECONDS + 2 * 3 * 100 * 0.01)


def test_a_baseline_takes_its_time_where_it_has_no_answers_yet() -> None:
    spec = Spec(candidates="int8", baseline="ngrams")
    assert usual_seconds(spec, 100, 0.1, 7.0) == usual_seconds(spec, 100, 0.1) + 7.0
    assert judged(spec, 7.0) != judged(spec) == judged(Spec(candidates="int8"))


def test_runs_that_judge_alike_say_the_same() -> None:
    assert judged(Spec(candidates="int8  float32")) == judged(Spec(candidates="int8,float32"))
    assert judged(Spec(candidates="int8", tuning_epochs=5)) == judged(Spec(candidates="int8"))
    pruned = {judged(Spec(candidates="pruned50", tuning_epochs=n)) for n in (1, 2)}
    assert len(pruned) == 2
