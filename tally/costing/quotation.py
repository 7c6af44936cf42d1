"""A whole quote as one document: for the ledger, the command line, the report. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tally.costing.bill import Bill
from tally.costing.plan import Plan
from tally.costing.quote import Range, Row
from tally.costing.quotes import Quote
from tally.costing.scores import Score
from tally.costing.sensitivity import WhatIf

SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Quotation:
    """What a run is predicted to cost, at every size, and what would change it.

    Attributes:
        pipeline: whose.
        rows: every size, the possible ones first.
        picked: the one to begin with.
        why: of the pick.
        what_ifs: the picked size with one thing changed.
        plan: for the conductor.
        width: by which intervals were widened, from past quotes' errors.
        quoted_after_seconds: of the run's wall clock had gone when the quote was made.
        notes: what else to know, a sentence each.
    """

    pipeline: str
    rows: tuple[Row, ...]
    picked: Row
    why: str
    what_ifs: tuple[WhatIf, ...]
    plan: Plan
    width: float = 1.0
    quoted_after_seconds: float = 0.0
    notes: tuple[str, ...] = field(default=())

    def as_json(self) -> dict[str, Any]:
        """The document, JSON's types only."""
        return {
            "schema": SCHEMA,
            "pipeline": self.pipeline,
            "picked": self.rows.index(self.picked),
            "why": self.why,
            "rows": [_row(row) for row in self.rows],
            "what_ifs": [
                {"name": one.name, "basis": one.basis, **_range("usd", one.usd),
                 **_range("seconds", one.seconds)}
                for one in self.what_ifs
            ],
            "plan": self.plan.as_json(),
            "width": self.width,
            "quoted_after_seconds": self.quoted_after_seconds,
            "notes": list(self.notes),
        }  # fmt: skip

    def of_run(self, run_id: str, made_at_microseconds: int, budget_usd: float | None) -> Quote:
        """As the ledger keeps it."""
        usd = self.picked.usd
        return Quote(
            run_id=run_id,
            made_at_microseconds=made_at_microseconds,
            low_usd=usd.low,
            expected_usd=usd.expected,
            high_usd=usd.high,
            budget_usd=budget_usd,
            document=self.as_json(),
        )


def score(quote: Quote, bill: Bill) -> Score | None:
    """A kept quote against its run's bill; None of a quote without a document of its own."""
    document = quote.document
    try:
        row: Mapping[str, Any] = document["rows"][document["picked"]]
        return Score(
            run_id=quote.run_id,
            pipeline=bill.pipeline,
            basis=str(row["basis"]),
            quoted_usd=quote.expected_usd,
            low_usd=quote.low_usd,
            high_usd=quote.high_usd,
            billed_usd=float(bill.total_usd),
            quoted_seconds=row["expected_seconds"],
            low_seconds=row["low_seconds"],
            high_seconds=row["high_seconds"],
            billed_seconds=bill.wall_seconds,
            width=float(document.get("width", 1.0)),
        )
    except (KeyError, IndexError, TypeError):
        return None


def _row(row: Row) -> dict[str, Any]:
    size = row.candidate
    return {
        "machine_type": size.machine_type,
        "workers": size.workers,
        "name": row.name,
        "basis": size.basis,
        "excluded": size.excluded,
        "allowed": size.allowed,
        "price_usd_per_hour": size.machines * size.price_usd_per_hour,
        "step_seconds": size.step.expected,
        "steps": size.steps,
        "start_seconds": size.start.expected,
        **_range("usd", row.usd),
        **_range("seconds", row.seconds),
        "hardware_usd": row.hardware_usd,
        "software_usd": row.software_usd,
        "time_usd": row.time_usd,
    }


def _range(unit: str, amount: Range) -> dict[str, float]:
    return {
        f"low_{unit}": amount.low,
        f"expected_{unit}": amount.expected,
        f"high_{unit}": amount.high,
    }
