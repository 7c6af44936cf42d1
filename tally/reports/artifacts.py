"""Small pages for Kubeflow's UI, which shows them in a sandboxed frame: no script, no request."""

from collections.abc import Mapping
from html import escape
from typing import Any

from tally.costing.bill import Bill
from tally.costing.quotes import Quote
from tally.reports import judged, money, words
from tally.reports.quote_text import against
from tally.reports.render import render
from tally.tasks import reading


def evaluation_html(evaluation: Mapping[str, Any]) -> str:
    """The evaluation as a page: the result, what is to be seen of it, the candidates."""
    headline = reading.of(evaluation).headline
    result = words.finely(headline, evaluation[headline.name])
    return render(
        "evaluation.html.j2",
        result=result if headline.share else f"{headline.title} {result}",
        judged=judged.lay_out(evaluation),
        **judged.rest(evaluation),
    )


def nothing_html(why: str) -> str:
    """A page of a step that had nothing to do."""
    return f"<!doctype html><meta charset=utf-8><title>Nothing new</title><p>{escape(why)}</p>"


def quote_html(document: Mapping[str, Any]) -> str:
    """The quote as a page: every size, the pick, what would change it."""
    return render("quote.html.j2", quote=document)


def bill_html(bill: Bill, quote: Quote | None = None) -> str:
    """The bill as a page: its parts, its steps and phases, and how far the quote was off."""
    compared = against(quote, bill) if quote else ""
    return render("bill.html.j2", bill=bill, money=money.lay_out(bill), compared=compared)
