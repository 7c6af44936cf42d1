"""The pages in a real browser: nothing is asked of the network, nothing fails, no plot is empty."""

import random
from pathlib import Path
from typing import Any

import pytest

from helpers.browser import Browser
from helpers.reports.looking import PLOTS, look
from helpers.reports.records import RUN, START, Story, evaluated, record, whole
from tally.reports.artifacts import bill_html, evaluation_html
from tally.reports.report import write_report

pytestmark = pytest.mark.program("chromium")

HOSTILE = "</title><script>console.error('owned')</script><img src=http://127.0.0.1:9/x>\"'&"


def report(path: Path, story: Story, evaluation: dict[str, Any] | None, **changes: Any) -> Path:
    run = record(story, **changes)
    write_report(run, story.bill(run), story.events, evaluation, path)
    return path


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1200, 375], ids=["desktop", "phone"])
def test_every_plot_of_a_resumed_run_is_drawn(
    browser: Browser, tmp_path: Path, width: int, dark: bool
) -> None:
    page = report(tmp_path / "report.html", whole(resumed=True), evaluated())
    marks = look(browser, page, width=width, dark=dark)
    assert marks["Training loss"] == marks["Training accuracy"] == 2 + 5  # attempts + epochs
    assert marks["Examples a second"] == 2 + 2  # attempts + checkpoints
    assert marks["Timeline of the run"] == 6
    assert marks["Confusion matrix"] > 10
    assert any(title.startswith("Hardware and software") for title in marks)
    ground, ink = browser.evaluate(
        "(s => [s.backgroundColor, s.color])(getComputedStyle(document.body))"
    )
    assert (ground == "rgb(20, 22, 26)") is dark
    assert ground != ink


def test_a_run_that_failed_before_it_began_says_so_in_words(
    browser: Browser, tmp_path: Path
) -> None:
    error = 'pipelines/cnn: epochs must be 1 or more, got 0; pass SET="epochs=5"'
    changes = {"state": "failed", "error": error, "metrics": {}, "examples_trained": 0}
    page = report(tmp_path / "report.html", Story(), None, spec={}, **changes)
    assert look(browser, page) == {}
    text = browser.evaluate("document.body.innerText")
    for words in (error, "no learning curve", "no timeline", "no evaluation", "No usage"):
        assert words in text


def test_a_run_that_died_in_training_shows_what_there_is(browser: Browser, tmp_path: Path) -> None:
    story = Story()
    story.step("prepare", 1.0, train_examples=28_740)
    story.train(0, 20_000)
    message = "train: loss is nan at step 40; pass SET='learning_rate=0.0001'"
    nothing = {"loss": float("nan"), "accuracy": float("nan"), "examples_per_second": 0.0}
    story.event("train", "progress", done=21_000, total=143_700, **nothing)
    story.event("train", "failed", message=message, exit_code=1)
    page = report(tmp_path / "report.html", story, None, state="failed", metrics={})
    marks = look(browser, page)
    assert marks["Training loss"] == 1
    assert message in browser.evaluate("document.body.innerText")


@pytest.mark.parametrize("classes", [2, 24, 25, 100, 1000])
def test_the_matrix_stays_readable_for_any_number_of_classes(
    browser: Browser, tmp_path: Path, classes: int
) -> None:
    page = tmp_path / "evaluation.html"
    page.write_text(evaluation_html(evaluated(classes)))
    marks = look(browser, page, width=375)
    assert min(classes, 100) <= marks["Confusion matrix"] <= 100 * 100
    smallest = browser.evaluate(
        "Math.min(...[...document.querySelectorAll('svg.matrix text')].map(t => {"
        " const m = t.getScreenCTM(); return 12 * Math.hypot(m.a, m.b) }))"
    )
    assert smallest >= 6.5, "pixels of the matrix's text"
    overlap = browser.evaluate(
        "(rows => rows.some((r, k) => k && r.top < rows[k - 1].bottom - 2))("
        "[...document.querySelectorAll('svg.matrix text[text-anchor=end]')]"
        ".map(t => t.getBoundingClientRect()))"
    )
    assert not overlap, "names of classes lie on one another"


def test_thousands_of_events_make_a_small_page(browser: Browser, tmp_path: Path) -> None:
    story = whole(every_seconds=0.001)
    assert len(story.events) > 10_000
    page = report(tmp_path / "report.html", story, evaluated())
    assert look(browser, page)["Training loss"] == 1 + 5
    assert page.stat().st_size < 100_000


def test_hostile_names_are_shown_and_never_run(browser: Browser, tmp_path: Path) -> None:
    story = whole()
    story.step(HOSTILE, 1.0)
    story.event("train", "failed", message=HOSTILE, exit_code=1)
    spec = {"model": HOSTILE, "dataset": HOSTILE, HOSTILE: HOSTILE}
    names = [f"{k}{HOSTILE}" for k in range(10)]
    changes = {"state": "failed", "error": HOSTILE, "spec": spec, "team": HOSTILE}
    page = report(
        tmp_path / "report.html", story, evaluated(10, names), pipeline=HOSTILE, **changes
    )
    look(browser, page)
    look(browser, page, width=375)
    assert browser.evaluate("document.querySelectorAll('script, img, iframe').length") == 0
    assert HOSTILE in browser.evaluate("document.body.innerText")


def test_the_artifacts_for_kubeflow_are_pages_of_their_own(
    browser: Browser, tmp_path: Path
) -> None:
    story = whole()
    (tmp_path / "bill.html").write_text(bill_html(story.bill(record(story, state="running"))))
    (tmp_path / "evaluation.html").write_text(evaluation_html(evaluated()))
    for view in ({"width": 1200}, {"width": 375}, {"width": 700, "dark": True}):
        assert len(look(browser, tmp_path / "bill.html", **view)) == 2
        assert len(look(browser, tmp_path / "evaluation.html", **view)) == 1


def test_text_stands_out_from_its_ground(browser: Browser, tmp_path: Path) -> None:
    """WCAG AA: 4.5 to 1 for every piece of text, in both modes."""
    page = report(tmp_path / "report.html", whole(resumed=True), evaluated())
    for dark in (False, True):
        look(browser, page, dark=dark)
        low = browser.evaluate(CONTRAST)
        assert low == [], low


CONTRAST = """
(() => {
  const rgb = c => c.match(/[\\d.]+/g).slice(0, 3).map(Number)
  const light = c => rgb(c).map(v => v / 255).map(v => v <= .04045 ? v / 12.92
    : ((v + .055) / 1.055) ** 2.4).reduce((s, v, k) => s + v * [.2126, .7152, .0722][k], 0)
  const ground = light(getComputedStyle(document.body).backgroundColor), low = new Set()
  for (const e of document.querySelectorAll('main *')) {
    if (![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim())) continue
    const svg = e instanceof SVGElement, style = getComputedStyle(e)
    if (svg && (e.tagName !== 'text' || /^(on|deep|pale)/.test(e.getAttribute('class')))) continue
    const ink = light(svg ? style.fill : style.color)
    const ratio = (Math.max(ink, ground) + .05) / (Math.min(ink, ground) + .05)
    if (ratio < 4.5) low.add(`${e.tagName}.${e.getAttribute('class')} ${ratio.toFixed(2)}`)
  }
  return [...low]
})()
"""


def test_the_check_itself_sees_errors_requests_and_empty_plots(
    browser: Browser, tmp_path: Path
) -> None:
    page = tmp_path / "broken.html"
    page.write_text(
        "<script>console.error('one'); setTimeout(() => { throw Error('two') })</script>"
        "<img src='other.png'><figure><svg class='chart' width='200' height='90'>"
        "<title>t</title><desc>d</desc><text y='9'>empty</text></svg></figure>"
    )
    browser.open(page)
    seen = " ".join(browser.errors)
    assert "one" in seen
    assert "two" in seen
    assert [url.rsplit("/", 1)[1] for url in browser.requests] == ["broken.html", "other.png"]
    assert [plot["marks"] for plot in browser.evaluate(PLOTS)] == [0]


def test_a_long_night_between_attempts_takes_no_room(browser: Browser, tmp_path: Path) -> None:
    chance = random.Random(1)
    story = Story()
    for attempt in range(1, 6):
        story.attempt = attempt
        story.train(20_000 * (attempt - 1), 20_000 * attempt)
        story.now += 3600 * chance.uniform(1, 20)
    page = report(tmp_path / "report.html", story, None, state="interrupted", metrics={})
    assert look(browser, page)["Timeline of the run"] == 5
    assert RUN in page.read_text()
    assert story.events[0]["at_microseconds"] == START
