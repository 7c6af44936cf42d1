"""A quote on a terminal and as a page: the pick is marked, amounts are the document's."""

from typing import Any

import pytest
from test_text import printed

from helpers.reports.records import record, whole
from tally.costing.quotes import Quote
from tally.reports.artifacts import bill_html, quote_html
from tally.reports.quote_text import against, between, quote_table, scores_table, span
from tally.reports.report import report_html


def row(workers: int, usd: float, **changes: Any) -> dict[str, Any]:
    usual = {
        "machine_type": "local", "workers": workers, "name": f"{workers} on this machine",
        "basis": "measured", "excluded": "", "allowed": True,
        "low_usd": usd * 0.9, "expected_usd": usd, "high_usd": usd * 1.2,
        "low_seconds": 3000 * usd, "expected_seconds": 3300 * usd, "high_seconds": 3600 * usd,
    }  # fmt: skip
    return {**usual, **changes}


DOCUMENT: dict[str, Any] = {
    "schema": 1, "pipeline": "cnn", "picked": 1, "why": "2 are <cheapest>", "notes": ["a note"],
    "rows": [
        row(1, 0.0123),
        row(2, 0.0101),
        row(3, 1.0, excluded="needs 9 GiB of memory and has 2"),
        row(1, 0.5, machine_type="g2-standard-4", basis="listed", allowed=False),
    ],
    "what_ifs": [
        {"name": "half the data", "basis": "measured", "expected_usd": 0.006,
         "expected_seconds": 22.0}
    ],
}  # fmt: skip


def test_the_pick_is_marked_and_what_is_left_out_has_its_reason() -> None:
    text = printed(quote_table(DOCUMENT), width=80)
    (marked,) = [line for line in text.splitlines() if line.startswith("→  ")]
    assert "2 workers" in marked and "$0.0101" in marked and "measured" in marked
    assert "1 × g2-standard-4" in text and "needs 9 GiB" in text and "a note" in text
    assert "half the data" in text and "…" not in text


def test_the_page_has_every_size_and_escapes_what_it_is_given() -> None:
    page = quote_html(DOCUMENT)
    assert "&lt;cheapest&gt;" in page and "<cheapest>" not in page
    assert "→ 2 on this machine" in page and "left out: needs 9 GiB" in page
    assert "half the data" in page


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [(28, 33, "28.0–33.0 s"), (131, 165, "131–165 s"), (1260, 1740, "21–29 min"),
     (10_080, 12_600, "2.8–3.5 h")],
)  # fmt: skip
def test_both_ends_of_a_time_have_one_unit(low: float, high: float, text: str) -> None:
    assert span(low, high) == text


@pytest.mark.parametrize(
    ("low", "high", "text"), [(1.2, 1.6, "$1.20–1.60"), (0.00701, 0.00912, "$0.0070–0.0091")]
)
def test_both_ends_of_a_cost_have_as_many_decimals(low: float, high: float, text: str) -> None:
    assert between(low, high) == text


def test_a_bill_is_told_against_its_quote() -> None:
    story = whole()
    run = record(story)
    bill = story.bill(run)
    usd = float(bill.total_usd)
    near = Quote(
        run_id=run.id, made_at_microseconds=1, low_usd=usd * 0.9, expected_usd=usd / 1.05,
        high_usd=usd * 1.1, document=DOCUMENT,
    )  # fmt: skip
    assert "+5.0 %, inside" in against(near, bill)
    far = Quote(
        run_id=run.id, made_at_microseconds=1, low_usd=usd * 2, expected_usd=usd * 2.5,
        high_usd=usd * 3,
    )  # fmt: skip
    assert "-60.0 %, outside" in against(far, bill)
    assert "+5.0 %, inside" in bill_html(bill, near) and "quoted" not in bill_html(bill)
    page = report_html(run, bill, story.events, None, near)
    assert "What was quoted" in page and "half the data" in page
    assert "What was quoted" in report_html(run, bill, story.events, None, far)
    assert "What was quoted" not in report_html(run, bill, story.events, None)


def test_accuracy_without_runs_says_what_to_do() -> None:
    assert "make submit" in printed(scores_table({"all": None, "by_basis": {}, "runs": []}))
    one = {"runs": 3, "error_seconds": 0.05, "error_usd": 0.06, "cover_seconds": 2 / 3,
           "cover_usd": 1.0, "median_half_width": 0.1}  # fmt: skip
    text = printed(scores_table({"all": one, "by_basis": {"measured": one}, "runs": []}))
    assert "5.0 %" in text and "6.0 %" in text and "66.7 %" in text and "± 10.0 %" in text
