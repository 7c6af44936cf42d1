"""A cluster's run in words of a run's events, and the page that they make."""

from helpers.reports.records import FIGURES, RUN, START, Story, record, whole
from tally.costing.quotes import RunEvent
from tally.reports import history
from tally.reports.report import report_html
from tally.reports.told import NOT_TOLD, events_of

_FRAME = ("schema", "at_microseconds", "attempt", "step", "event")


def told(story: Story) -> list[RunEvent]:
    """What a run's steps send to the meter: all but their progress."""
    return [
        RunEvent(
            run_id=RUN,
            at_microseconds=event["at_microseconds"],
            kind=event["event"],
            step=event["step"],
            facts={name: value for name, value in event.items() if name not in _FRAME},
        )
        for event in story.events
        if event["event"] != "progress"
    ]


def test_epochs_steps_and_attempts_are_those_of_the_run() -> None:
    story = whole(resumed=True)
    here = history.read(story.events, FIGURES)
    there = history.read(events_of(told(story), story.usage), FIGURES)
    assert here.epochs and there.epochs == here.epochs
    assert {(span.step, span.attempt, span.ended) for span in there.spans} == {
        (span.step, span.attempt, span.ended) for span in here.spans
    }
    assert [one.number for one in there.attempts] == [1, 2]


def test_facts_are_never_taken_for_the_events_own_words() -> None:
    facts = {"event": "failed", "attempt": 9, "step": "x", "at_microseconds": 0, "message": "m"}
    (event,) = events_of(
        [RunEvent(run_id=RUN, at_microseconds=START, kind="note", facts=facts)], []
    )
    assert event == {
        "event": "note", "attempt": 1, "step": "", "at_microseconds": START, "message": "m",
    }  # fmt: skip


def test_the_page_shows_what_was_measured_and_says_what_it_lacks() -> None:
    story = whole(resumed=False)
    metrics = {"test_accuracy": 0.981, "test_loss": 0.07, "macro_f1": 0.9}
    run = record(story, metrics=metrics)
    events = events_of(told(story), story.usage)
    page = report_html(run, story.bill(run), events, None, None, NOT_TOLD)
    for words in (
        "no measures by example",
        "98.1",
        "0.07",
        "macro_f1",
        "Training loss",
        "Rings are",
    ):
        assert words in page
    for wrong in ("has no evaluation", "not evaluated", "No training speed", "of 1 examples"):
        assert wrong not in page


def test_of_a_run_that_told_nothing_there_is_a_page() -> None:
    story = Story()
    run = record(story, state="failed", metrics={})
    page = report_html(run, story.bill(run), events_of([], []), None, None, NOT_TOLD)
    assert "no evaluation" in page and "no learning curve" in page
