"""The report names each change of size, why, and what it has saved."""

from helpers.reports.records import FIGURES, Story, evaluated, record, whole
from tally.reports import history, scaled
from tally.reports.report import report_html

ONE = {"machine_type": "small", "workers": 1, "batch_size": 32}
TWO = {"machine_type": "small", "workers": 2, "batch_size": 32}


def changed() -> Story:
    story = Story()
    story.step("prepare", 1.0, train_examples=28_740)
    story.event("train", "generation", generation=1, workers=["0"], donor=0, fresh=True)
    story.train(0, 20_000)
    story.event(
        "train", "decision", before=ONE, after=TWO, reason="it pays <b>now</b>",
        predicted_saving_usd=0.5,
    )  # fmt: skip
    story.event("train", "generation", generation=2, workers=["0", "1"], donor=0, fresh=False)
    story.train(20_000, 40_000)
    story.event(
        "train", "decision_outcome", before=ONE, after=TWO, seconds=60.0, examples=20_000,
        saving_usd=0.25, predicted_saving_usd=0.5,
    )  # fmt: skip
    story.event(
        "train", "stopped", reason="budget", budget_usd=2.0, spent_usd=1.98,
        remaining_examples=5_000, remaining_hours=0.5, remaining_usd=0.4,
    )  # fmt: skip
    return story


def test_a_change_is_a_row_with_its_reason_and_both_savings() -> None:
    story = changed()
    laid_out = scaled.lay_out(story.events, history.read(story.events, FIGURES))
    assert laid_out is not None
    change, stop = laid_out.rows
    assert change.change == "1 × small → 2 × small"
    assert (change.predicted, change.actual) == ("$0.500", "$0.250 in 1 min 00 s")
    assert "$1.98 spent of $2.00" in stop.reason
    assert "5,000 examples remain, about 30 min 00 s" in stop.reason


def test_the_size_is_drawn_over_running_time() -> None:
    story = changed()
    laid_out = scaled.lay_out(story.events, history.read(story.events, FIGURES))
    assert laid_out is not None
    assert laid_out.sizes is not None
    (line,) = laid_out.sizes.lines
    heights = [point.split()[1] for point in line.path[1:].split("L")]
    assert len(heights) == 4  # one worker, then two, each from its begin to its end
    assert heights[0] == heights[1] > heights[2] == heights[3]
    (mark,) = laid_out.sizes.dots
    assert mark.title == "1 × small → 2 × small"


def test_the_page_shows_it_escaped_and_a_run_of_one_size_has_no_such_part() -> None:
    story = changed()
    run = record(story)
    page = report_html(run, story.bill(run), story.events, evaluated())
    assert "it pays &lt;b&gt;now&lt;/b&gt;" in page
    assert "How big it was, and why" in page
    plain = whole()
    run = record(plain)
    assert "How big it was" not in report_html(run, plain.bill(run), plain.events, evaluated())
