"""Small pages for Kubeflow's UI, which shows them in a sandboxed frame: no script, no request."""

from collections.abc import Mapping
from typing import Any

from tally.costing.bill import Bill
from tally.reports import confusion, money
from tally.reports.render import render


def evaluation_html(evaluation: Mapping[str, Any]) -> str:
    """The evaluation as a page: accuracy, confusion matrix, measures by class."""
    matrix = confusion.lay_out(evaluation)
    return render("evaluation.html.j2", evaluation=evaluation, matrix=matrix)


def bill_html(bill: Bill) -> str:
    """The bill as a page: its parts, its steps and phases."""
    return render("bill.html.j2", bill=bill, money=money.lay_out(bill))
