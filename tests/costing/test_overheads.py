"""What a run takes beside its training, from runs like it."""

import pytest

from tally.costing.overheads import UNKNOWN, PastRun, part, typical


def past(seconds: float, **changes: object) -> PastRun:
    usual = {"run_id": "r", "model": "cnn", "fingerprint": "f", "workers": 1, "judged": "int8"}
    return PastRun(**{**usual, **changes}, seconds={"train": seconds, "evaluate": seconds})


def of(name: str, runs: list[PastRun], workers: int = 1) -> float:
    return part(name, runs, "cnn", "f", workers, "int8", 3.0).expected


def test_without_runs_it_is_what_is_usual_and_unsure() -> None:
    found = part("evaluate", [], "cnn", "f", 1, "int8", 3.0)
    assert found.expected == 3.0 and found.high == pytest.approx(3.0 * (1 + UNKNOWN))


def test_runs_that_are_most_alike_count() -> None:
    other_data, other_model = past(9, fingerprint="g"), past(20, model="lstm")
    assert of("evaluate", [other_model, other_data, past(4)]) == 4
    assert of("evaluate", [other_model, other_data]) == 9
    assert of("evaluate", [other_model]) == 20


def test_evaluate_is_as_in_runs_that_made_the_same_candidates() -> None:
    assert of("evaluate", [past(40, judged="pruned50 × 2"), past(4)]) == 4
    assert of("evaluate", [past(40, judged="pruned50 × 2")]) == 3.0
    assert of("train", [past(40, judged="pruned50 × 2")]) == 40


def test_the_start_of_a_gang_is_known_only_by_gangs_of_its_size() -> None:
    assert of("train", [past(4), past(7, workers=2)], workers=2) == 7
    assert of("train", [past(4)], workers=2) == 3.0


def test_one_slow_run_moves_it_little_and_the_newest_count() -> None:
    assert of("evaluate", [past(4), past(30), past(4.2), past(3.8)]) == pytest.approx(4.1)
    assert of("evaluate", [*[past(5)] * 6, *[past(50)] * 20]) == 5


def test_what_scattered_more_is_quoted_wider() -> None:
    steady, unsteady = typical([4, 4.1, 3.9, 4], 3), typical([4, 6, 2.5, 5], 3)
    assert steady.half_width < unsteady.half_width
    assert typical([4], 3).half_width > typical([4, 4, 4, 4], 3).half_width
