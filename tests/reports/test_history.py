"""Events to history and curves: attempts end to end, what was done again, no invention."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.reports.records import COLUMNS, FIGURES, START, Story, whole
from tally.reports import curves, history, timing


def test_attempts_lie_end_to_end_without_the_time_between_them() -> None:
    story = whole(resumed=True)
    past = history.read(story.events, FIGURES)
    assert [attempt.number for attempt in past.attempts] == [1, 2]
    assert past.attempts[0].end_seconds == past.attempts[1].start_seconds
    assert past.seconds < 60


def test_the_order_of_the_lines_in_the_file_does_not_matter() -> None:
    events = whole(resumed=True).events
    mixed = random.Random(3).sample(events, len(events))
    assert history.read(mixed, FIGURES) == history.read(events, FIGURES)


def test_a_step_that_was_killed_is_cut_short_and_one_that_failed_says_so() -> None:
    story = whole(resumed=True)
    story.event("extra", "step_started")
    story.event("extra", "failed", message="no", exit_code=1)
    ended = {
        (span.step, span.attempt): span.ended for span in history.read(story.events, FIGURES).spans
    }
    assert ended["train", 1] == "cut short"
    assert ended["train", 2] == "done"
    assert ended["extra", 2] == "failed"


def test_what_a_kill_lost_is_shaded_from_the_checkpoint_to_where_it_had_come() -> None:
    story = whole(resumed=True)
    loss, accuracy = curves.learning(history.read(story.events, FIGURES), None, COLUMNS)
    whole_run = story.per_epoch * story.epochs
    (band,) = loss.bands
    assert loss.bands == accuracy.bands
    assert band.x == pytest.approx(100 * 70_000 / whole_run, abs=0.01)
    assert band.x + band.width == pytest.approx(100 * 90_000 / whole_run, abs=0.01)
    assert "20,000 examples lost" in band.title


def test_an_undisturbed_run_has_nothing_shaded() -> None:
    (loss, _) = curves.learning(history.read(whole().events, FIGURES), None, COLUMNS)
    assert loss.bands == ()


def test_epochs_count_from_one_and_the_later_attempt_has_the_last_word() -> None:
    story = Story()
    story.event("train", "epoch", epoch=0, loss=9.0, accuracy=0.1, seconds=1.0)
    story.attempt = 2
    story.event("train", "epoch", epoch=0, loss=0.5, accuracy=0.9, seconds=1.0)
    (epoch,) = history.read(story.events, FIGURES).epochs
    assert (epoch.number, epoch.loss, epoch.attempt) == (1, 0.5, 2)


def test_a_run_with_epochs_alone_still_has_its_curve() -> None:
    story = Story()
    story.step("prepare", 1.0, train_examples=100)
    story.event("train", "epoch", epoch=0, loss=0.5, accuracy=0.9, seconds=1.0)
    loss, _ = curves.learning(
        history.read(story.events, FIGURES), {"test_loss": float("nan")}, COLUMNS
    )
    assert len(loss.dots) == 1
    assert loss.rules == ()


def test_a_figure_beyond_anything_that_is_counted_is_none() -> None:
    story = Story()
    for odd in (1e302, 10**400, -(10**400), float("inf")):
        story.event("train", "progress", done=1, total=1_594_701)
        story.event("train", "epoch", epoch=odd, loss=odd, accuracy=0.5, seconds=1.0)
    past = history.read(story.events, FIGURES)
    assert past.epochs == () and past.total == 1_594_701
    curves.learning(past, None, COLUMNS)


FIELDS = ("done", "total", "loss", "accuracy", "examples_per_second", "epoch")
numbers = st.one_of(st.none(), st.integers(-5, 10**7), st.floats(), st.booleans(), st.just("x"))


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "at_microseconds": st.integers(START, START + 10**11),
                "attempt": st.integers(1, 4),
                "step": st.sampled_from(["prepare", "train", "submit", ""]),
                "event": st.sampled_from(
                    ["progress", "epoch", "checkpoint", "started", "failed", "step_ended", "new"]
                ),
            },
            optional=dict.fromkeys(FIELDS, numbers),
        ),
        max_size=30,
    )
)
def test_no_history_however_odd_breaks_the_plots_or_leaves_them(events: list[dict]) -> None:
    past = history.read(events, FIGURES)
    plots = [*curves.learning(past, None, COLUMNS), *filter(None, [timing.throughput(past)])]
    for plot in plots:
        assert plot.lines or plot.dots
        assert all(0 <= tick.at <= 100 for tick in plot.x_ticks)
        assert all(0 <= dot.x <= 100 and 0 <= dot.y <= plot.height for dot in plot.dots)
        assert "nan" not in "".join(line.path for line in plot.lines)
    shown = timing.timeline(past)
    for row in shown.rows if shown else ():
        assert all(0 <= bar.x <= 100 and bar.width > 0 for bar in row.bars)
