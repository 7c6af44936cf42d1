"""Runs of this machine that are over, as the next quote sees them."""

from collections import defaultdict

from tally.costing.ledger import Ledger
from tally.costing.overheads import PastRun
from tally.costing.quotation import score
from tally.costing.scores import Score

LOOKED_AT = 24  # the newest runs
_SHARED = 0.03  # of the wall clock: a run whose machine was another's too tells nothing


def past_runs(ledger: Ledger, pipeline: str) -> list[PastRun]:
    """Where the time of this pipeline's newest runs went, newest first; others' where it has none.

    Only runs with one life and one size, that had the machine to themselves.
    """
    trained = {one.run_id: one for one in ledger.profiles() if one.source == "run"}
    own = [run_id for run_id, one in trained.items() if one.pipeline == pipeline]
    ids = (own or list(trained))[:LOOKED_AT]
    found = []
    for bill in ledger.bills(ids):
        profile = trained[bill.run_id]
        alone = abs(bill.billed_seconds - bill.wall_seconds) <= _SHARED * bill.wall_seconds
        if bill.state != "succeeded" or bill.attempts != 1 or not alone:
            continue
        seconds: dict[str, float] = defaultdict(float)
        for line in bill.lines:
            seconds[line.step] += line.seconds
        seconds["train"] -= float(profile.document.get("train_seconds", 0.0))
        quote = ledger.quote(bill.run_id)
        if quote is not None:
            seconds["submit"] -= float(quote.document.get("quoted_after_seconds", 0.0))
        found.append(
            PastRun(
                run_id=bill.run_id,
                model=str(profile.document.get("model", "")),
                fingerprint=str(profile.document.get("fingerprint", "")),
                workers=profile.workers,
                judged=str(profile.document.get("judged", "")),
                seconds={name: max(0.0, spent) for name, spent in seconds.items()},
            )
        )
    return found


def scores(ledger: Ledger) -> list[Score]:
    """The quotes of all runs that have succeeded in one life, against their bills, newest first."""
    quotes = {quote.run_id: quote for quote in ledger.quotes()}
    found = []
    for bill in ledger.bills(quotes):
        if bill.state == "succeeded" and bill.attempts == 1 and bill.examples:
            one = score(quotes[bill.run_id], bill)
            if one is not None:
                found.append(one)
    return found
