"""Merge: intervals of a worker never overlap; lost work becomes restart once."""

import random
from dataclasses import replace
from itertools import groupby, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.costing.histories import any_rows, killed, lives, row, spans, union
from tally.costing.merge import merge, newness, split_lost
from tally.costing.usage import Usage

pytestmark = pytest.mark.exact


def holder(one: Usage) -> tuple[str, str, str, str]:
    """Who held it: a worker of a machine, or a pod."""
    return one.run_id, one.step, one.worker, one.pod_uid if one.source == "pod" else ""


@given(st.lists(any_rows(), max_size=14))
def test_intervals_of_a_worker_or_a_pod_never_overlap_and_are_never_empty(
    rows: list[Usage],
) -> None:
    merged = merge(rows)
    assert all(one.end_microseconds > one.start_microseconds for one in merged)
    for _, own in groupby(merged, key=holder):
        assert all(a[1] <= b[0] for a, b in pairwise(spans(list(own))))


@given(st.lists(any_rows(), max_size=14))
def test_merging_again_changes_nothing(rows: list[Usage]) -> None:
    assert merge(merge(rows)) == merge(rows)


@given(st.lists(any_rows(), max_size=10), st.randoms())
def test_neither_order_nor_repetition_of_writes_matters(
    rows: list[Usage], chance: random.Random
) -> None:
    again = rows + rows
    chance.shuffle(again)
    # where writers disagree about one interval in what newness doesn't see, either may stand
    unique = {(one.usage_id, *holder(one)): one for one in rows}
    if len(unique) == len({one.usage_id for one in rows}) == len(rows):
        assert merge(again) == merge(rows)


@given(st.lists(any_rows(sources=("local", "pod")), max_size=12))
def test_every_moment_of_a_worker_or_a_pod_is_kept_once(rows: list[Usage]) -> None:
    newest: dict[str, Usage] = {}
    for one in rows:
        if one.usage_id not in newest or newness(one) > newness(newest[one.usage_id]):
            newest[one.usage_id] = one
    if len({(one.usage_id, *holder(one)) for one in rows}) != len(newest):
        return  # one interval claimed by two: no writer does that
    merged = merge(rows)
    for who in {holder(one) for one in rows}:
        given_spans = spans([one for one in newest.values() if holder(one) == who])
        kept = spans([one for one in merged if holder(one) == who])
        assert sum(b - a for a, b in kept) == union(given_spans)


def test_a_pod_that_ends_and_the_one_that_replaces_it_are_both_held() -> None:
    old = row(0, 50, source="pod", pod_uid="old")
    new = row(30, 90, source="pod", pod_uid="new")
    assert sorted(spans(merge([old, new]))) == [(0, 50), (30, 90)]


def test_a_pod_has_waited_as_long_as_its_conductor_says() -> None:
    told = row(10, 80, source="conductor", wait_seconds=3.0)
    (one,) = merge([row(0, 90, source="pod"), told])
    assert (one.wait_seconds, one.source) == (3.0, "pod")


def test_an_open_row_ends_at_its_heartbeat() -> None:
    (one,) = merge([row(10, None, heartbeat_at_microseconds=25)])
    assert (one.start_microseconds, one.end_microseconds) == (10, 25)


def test_a_clock_that_went_back_makes_no_negative_interval() -> None:
    assert merge([row(10, 5)]) == []


def test_a_closed_write_beats_a_late_open_one() -> None:
    closed, late = row(0, 10), row(0, None, heartbeat_at_microseconds=99)
    assert spans(merge([late, closed])) == spans(merge([closed, late])) == [(0, 10)]


def test_a_peak_is_the_highest_that_any_write_of_the_interval_saw() -> None:
    writes = [
        row(0, None, heartbeat_at_microseconds=5, memory_peak_bytes=9),
        row(0, 10, memory_peak_bytes=4),
    ]
    for order in (writes, writes[::-1]):
        (one,) = merge(order)
        assert (one.memory_peak_bytes, spans([one])) == (9, spans([row(0, 10)]))


def test_the_later_attempt_wins_an_overlap_and_figures_are_shared_by_time() -> None:
    first = row(0, 10, attempt=1, cpu_used_core_seconds=5.0)
    second = row(4, 20, attempt=2, cpu_used_core_seconds=7.0)
    kept, whole = merge([second, first])
    assert spans([kept, whole]) == [(0, 4), (4, 20)]
    assert (kept.cpu_used_core_seconds, whole.cpu_used_core_seconds) == (2.0, 7.0)


def test_a_pod_owns_the_bounds_and_a_conductor_splits_its_work() -> None:
    pod = row(10, 30, source="pod", cpu_used_core_seconds=20.0)
    told = row(5, 18, source="conductor", phase="restart")
    late = row(18, 50, source="conductor")
    merged = merge([late, told, pod])
    assert [(one.phase, *span) for one, span in zip(merged, spans(merged), strict=True)] == [
        ("restart", 10, 18),
        ("work", 18, 30),
    ]
    assert all(one.source == "pod" and one.confirmed for one in merged)
    assert sum(one.cpu_used_core_seconds for one in merged) == pytest.approx(20.0)


def test_without_a_pod_row_the_conductors_bounds_count_unconfirmed() -> None:
    (one,) = merge([row(5, 18, source="conductor")])
    assert spans([one]) == [(5, 18)]
    assert not one.confirmed


@given(lives(), st.data())
def test_lost_work_becomes_restart_and_nothing_is_counted_twice(
    rows: list[Usage], data: st.DataObject
) -> None:
    at = data.draw(st.integers(rows[0].start_microseconds + 1, rows[0].stop_microseconds))
    saved = data.draw(st.none() | st.integers(rows[0].start_microseconds - 5, at + 5))
    first = killed(rows, at, late=data.draw(st.integers(0, 2_000_000)))
    gap = data.draw(st.integers(-3_000_000, 10_000_000))  # below 0: the wall clock was set back
    second = data.draw(lives(begin=at + gap, attempt=2))
    before = merge(first)
    lost = split_lost(first, "run", "train", saved, attempt_before=2)
    after = merge(first + lost)
    assert union(spans(after)) == union(spans(before))
    for who in {holder(one) for one in before}:
        held = [one for one in after if holder(one) == who]
        assert union(spans(held)) == union(spans([one for one in before if holder(one) == who]))
    for one in after:
        if one.step == "train" and one.phase == "work":
            assert saved is not None
            assert one.stop_microseconds <= saved
        if one.phase == "restart":
            assert one.step == "train"
            assert saved is None or one.start_microseconds >= saved
    used = [sum(one.cpu_used_core_seconds for one in some) for some in (before, after)]
    assert used[0] == pytest.approx(used[1])
    both = merge(first + lost + second)
    assert union(spans(both)) == union(spans(before) + spans(second))


@given(lives(), st.data())
def test_splitting_twice_or_later_or_after_the_dead_wrote_once_more_is_the_same(
    rows: list[Usage], data: st.DataObject
) -> None:
    at = data.draw(st.integers(rows[0].start_microseconds + 1, rows[0].stop_microseconds))
    saved = data.draw(st.none() | st.integers(rows[0].start_microseconds, at))
    first = killed(rows, at, late=0)
    lost = split_lost(first, "run", "train", saved, attempt_before=2)
    once = merge(first + lost)
    assert split_lost(first + lost, "run", "train", saved, attempt_before=2) == []
    assert split_lost(first, "run", "train", saved, attempt_before=1) == []
    assert split_lost(first, "other", "train", saved, attempt_before=2) == []
    assert merge(lost + first + lost) == once
    closed = [replace(one, end_microseconds=one.stop_microseconds) for one in first]
    assert merge(lost + closed) == once


def test_a_dead_runs_worker_that_still_lives_adds_work_but_takes_no_restart_back() -> None:
    first = row(0, None, heartbeat_at_microseconds=100)
    lost = split_lost([first], "run", "train", 60, attempt_before=2)
    orphan = replace(first, end_microseconds=130, heartbeat_at_microseconds=130)
    merged = merge([orphan, *lost])
    assert [(one.phase, *spans([one])[0]) for one in merged] == [
        ("work", 0, 60),
        ("restart", 60, 100),
        ("work", 100, 130),
    ]


def test_the_later_attempt_wins_even_when_the_wall_clock_was_set_back_between() -> None:
    first, second = row(5, 15, attempt=1), row(0, 10, attempt=2, pod_uid="2")
    merged = merge([first, second])
    assert [(one.attempt, *spans([one])[0]) for one in merged] == [(2, 0, 10), (1, 10, 15)]


def test_restart_wins_over_the_work_that_it_replaces() -> None:
    (one,) = merge([row(0, 10, phase="restart"), row(0, 10)])
    assert one.phase == "restart"
