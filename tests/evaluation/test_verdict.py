import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tally.evaluation import verdict as verdicts
from tally.evaluation.verdict import Contender, Limits, Verdict
from tally.tasks import registry
from tally.tasks.classification.intervals import paired_interval

decide = functools.partial(verdicts.decide, registry.named("classification"))


def contender(name: str, right, size: int = 100, latency: float = 1e-3, usd: float = 0.1):
    return Contender(name, np.asarray(right, bool), size, latency, usd)


def correlated(random, accuracy: float, count: int, alike: float, models: int):
    """Right answers of models that are equally good and err alike on a share of the examples."""
    shared = random.random(count) < accuracy
    return [
        np.where(random.random(count) < alike, shared, random.random(count) < accuracy)
        for _ in range(models)
    ]


@pytest.mark.parametrize("candidates", [1, 5])
@pytest.mark.parametrize("alike", [0.0, 0.7])
@pytest.mark.parametrize("count", [40, 2000])
def test_equal_models_are_promoted_by_chance_alone(candidates: int, alike: float, count: int):
    random = np.random.default_rng(17)
    promoted = 0
    for _ in range(1000):
        accuracy = random.uniform(0.5, 0.98)
        champion, *others = correlated(random, accuracy, count, alike, candidates + 1)
        found = [contender(f"c{k}", right, 100 + k) for k, right in enumerate(others)]
        promoted += decide(found, champion, Limits()).promote
    assert promoted <= 25


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 400), st.integers(1, 6), st.floats(0, 0.2))
def test_whoever_is_promoted_is_better_and_the_order_does_not_matter(
    seed: int, count: int, models: int, margin: float
) -> None:
    random = np.random.default_rng(seed)
    champion = random.random(count) < random.random()
    found = [
        contender(f"c{k}", random.random(count) < random.random(), int(random.integers(1, 4)))
        for k in range(models)
    ]
    verdict = decide(found, champion, Limits(), margin)
    random.shuffle(found)
    assert decide(found, champion, Limits(), margin) == verdict
    (chosen,) = [c for c in found if c.name == verdict.candidate]
    assert chosen.records.mean() >= max(c.records.mean() for c in found) - 0.005
    low, high = verdict.interval
    assert -1 <= low <= high <= 1
    assert verdict.difference == pytest.approx(chosen.records.mean() - champion.mean())
    if verdict.promote:
        assert verdict.difference > margin
        assert verdict.p_value <= 0.025 / models


def test_a_candidate_that_is_clearly_better_is_promoted_and_its_margin_kept() -> None:
    right, held = np.ones(1000, bool), np.arange(1000) >= 100
    verdict = decide([contender("int8", right)], held, Limits())
    assert verdict.promote and verdict.difference == 0.1
    assert verdict.reason == (
        "promoted: int8 has 100.00% right, the champion 90.00%: +10.00 points (+8.11 to +11.85)"
    )
    assert not decide([contender("int8", right)], held, Limits(), margin=0.09).promote
    assert decide([contender("int8", right)], held, Limits(), margin=0.05).promote


@pytest.mark.parametrize(
    ("gained", "lost", "why"),
    [
        (5, 2, "better by no more than chance explains"),
        (3, 3, "no better"),
        (0, 0, "no better"),
        (2, 5, "worse by no more than chance explains"),
        (0, 6, "worse by more than chance explains"),
        (0, 100, "worse by more than chance explains"),
    ],
)
@pytest.mark.parametrize("others", [0, 4])
def test_why_it_was_not_promoted_is_true(gained: int, lost: int, why: str, others: int) -> None:
    example = np.arange(1000)
    candidate, champion = example >= lost, (example < lost) | (example >= lost + gained)
    larger = [contender(f"c{k}", candidate, 200) for k in range(others)]
    verdict = decide([contender("int8", candidate), *larger], champion, Limits())
    assert not verdict.promote and verdict.reason.endswith(f"), {why}")


def test_a_regression_says_the_same_of_r2() -> None:
    random = np.random.default_rng(0)
    true = random.normal(size=300)
    near, far = (np.stack([true, true + random.normal(0, by, 300)], 1) for by in (0.2, 0.5))
    of_numbers = functools.partial(verdicts.decide, registry.named("regression"))
    worse = of_numbers([Contender("int8", far, 1, 1.0, 1.0)], near, Limits())
    assert worse.reason.endswith(", worse by more than chance explains")
    assert of_numbers([Contender("int8", near, 1, 1.0, 1.0)], near, Limits()).reason.endswith(
        ": +0 (+0 to +0), no better"
    )


def test_the_smallest_that_is_nearly_as_good_as_the_best_is_chosen() -> None:
    best, near, far = np.ones(1000, bool), np.arange(1000) >= 5, np.arange(1000) >= 20
    found = [contender("float32", best, 900), contender("int8", near, 300), contender("w4", far, 9)]
    assert decide(found, None, Limits()) == Verdict(
        True, "int8", "promoted: int8 is the first champion, 99.50% right"
    )


def test_what_is_beyond_a_limit_is_not_chosen_and_the_reason_says_which() -> None:
    right = np.ones(50, bool)
    found = [contender("a", right, 5_000, 0.002), contender("b", right, 9_000, 0.001, 0.5)]
    verdict = decide(found, None, Limits(bytes=1_000, usd_per_million=0.2))
    assert not verdict.promote and verdict.candidate == ""
    assert verdict.reason == (
        "not promoted: a has 5,000 bytes, above 1,000; b has 9,000 bytes, above 1,000 and $0.5 a "
        "million, above $0.2"
    )
    assert decide(found, None, Limits(latency_seconds=0.0015)).candidate == "b"
    assert decide([], None, Limits()).reason == "not promoted: no candidate was made"


def test_one_example_proves_nothing() -> None:
    verdict = decide([contender("a", [True])], np.array([False]), Limits())
    assert not verdict.promote and verdict.p_value == 0.5


def test_the_interval_holds_the_difference_nineteen_times_in_twenty() -> None:
    random = np.random.default_rng(2)
    inside = 0
    for _ in range(2000):
        shares = random.dirichlet((60, 4, 3, 8))
        cells = random.multinomial(200, shares)
        low, high = paired_interval(cells[1], cells[2], 200)
        inside += low <= shares[1] - shares[2] <= high
    assert 0.93 <= inside / 2000 <= 0.975
