"""What the meter's API says and hears, as JSON's types, and back without losing a digit. Pure.

Amounts of money are text: a float has not their digits. Whoever reads passes over names that it
does not know, and takes the default for those that are not there, so that the next version can add
some. An answer and a body carry `schema`; the meter answers in the one that it was asked in.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import MISSING, asdict, fields
from decimal import Decimal, InvalidOperation
from typing import Any, TypeVar

from tally.costing.allocation import Charge
from tally.costing.bill import Bill, BillLine
from tally.costing.lives import Life
from tally.costing.node_shares import NodeAccount
from tally.costing.nodes import Node
from tally.costing.quotes import Quote, RunEvent
from tally.costing.runs import RunRecord
from tally.costing.usage import Usage
from tally.errors import SpecError
from tally.tasks import reading

SCHEMA = 1
"""Of what this Tally writes."""

OLDEST = 1
"""The oldest that this Tally's meter still serves: SCHEMA less one, once there are two. So the
meter is upgraded first, the images of the pipelines after it."""

MEASURED = "measured"
"""The kind of an event whose facts are the run's: its measures by name, and examples_trained."""

Document = dict[str, Any]
_Read = TypeVar("_Read")

_LINES = ("lines", "wasted")
_TOTALS = ("hardware_usd", "software_usd", "time_usd", "total_usd")
_AMOUNTS = frozenset((*_TOTALS, "usd_per_example", "usd_per_point"))


def usage_document(row: Usage) -> Document:
    """One row of usage, whole."""
    return {name: getattr(row, name) for name in row.__slots__}  # asdict takes ten times as long


def usage_of(document: Mapping[str, Any]) -> Usage:
    """The row that a document tells of.

    Raises:
        SpecError: something of it is missing.
    """
    return _read(Usage, document)


def charge_document(one: Charge) -> Document:
    """A row of usage with its share of its machine's time."""
    return {
        "usage": usage_document(one.usage),
        "billed_microseconds": one.billed_microseconds,
    }


def charge_of(document: Mapping[str, Any]) -> Charge:
    """As `usage_of`."""
    return _read(Charge, {**document, "usage": usage_of(document.get("usage", {}))})


def account_document(day_microseconds: int, account: NodeAccount) -> Document:
    """Where a node's time went on the day that begins then (UTC)."""
    return {**asdict(account), "day_microseconds": day_microseconds}


def account_of(document: Mapping[str, Any]) -> tuple[int, NodeAccount]:
    """As `usage_of`; with the begin of its day."""
    node = _read(Node, document.get("node", {}))
    return int(document["day_microseconds"]), _read(NodeAccount, {**document, "node": node})


def quote_document(quote: Quote) -> Document:
    """A run's quote."""
    return {**asdict(quote), "document": finite(quote.document)}


def quote_of(document: Mapping[str, Any]) -> Quote:
    """As `usage_of`."""
    return _read(Quote, document)


def event_document(event: RunEvent) -> Document:
    """Something that happened in a run."""
    return {**asdict(event), "facts": finite(event.facts)}


def event_of(document: Mapping[str, Any]) -> RunEvent:
    """As `usage_of`."""
    return _read(RunEvent, document)


def life_document(life: Life) -> Document:
    """A pod's past life."""
    return asdict(life)


def life_of(document: Mapping[str, Any]) -> Life:
    """As `usage_of`."""
    return _read(Life, document)


def run_document(run: RunRecord) -> Document:
    """A run as the ledger has it."""
    return {**asdict(run), "spec": finite(run.spec), "metrics": finite(run.metrics)}


def run_of(document: Mapping[str, Any]) -> RunRecord:
    """As `usage_of`."""
    metrics = {name: float(value) for name, value in document.get("metrics", {}).items()}
    return _read(RunRecord, {**document, "metrics": metrics})


def bill_document(bill: Bill) -> Document:
    """A bill with every digit; `Bill.as_json` is for people and rounds amounts to floats."""
    plain = {name: _told(value) for name, value in bill.plain.items()}
    lines = {name: [_line_document(line) for line in getattr(bill, name)] for name in _LINES}
    return {**plain, **lines, "unpriced": list(bill.unpriced)}


def bill_of(document: Mapping[str, Any]) -> Bill:
    """The bill that a document tells of, equal to the one that it was made from.

    Raises:
        SpecError: something of it is missing, or is no amount.
    """
    lines = {
        name: tuple(_read(BillLine, line, _amount) for line in document.get(name, ()))
        for name in _LINES
    }
    unpriced = tuple(document.get("unpriced", ()))
    headline = reading.words(document.get("words", {}), document).headline
    result = {
        "measure": headline.name,
        "result": document.get(headline.name),
        "usd_per_point": document.get(headline.usd),
    }
    return _read(Bill, {**document, **lines, **result, "unpriced": unpriced}, _amount)


def finite(value: Any) -> Any:
    """The same with plain dicts and lists, and text for numbers that JSON has no word for."""
    if isinstance(value, Mapping):
        return {str(name): finite(held) for name, held in value.items()}
    if isinstance(value, list | tuple):
        return [finite(held) for held in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def _line_document(line: BillLine) -> Document:
    return {name: _told(getattr(line, name)) for name in line.__slots__}


def _told(value: Any) -> Any:
    return str(value) if isinstance(value, Decimal) else value


def _amount(name: str, value: Any) -> Any:
    if name not in _AMOUNTS or value is None:
        return value
    try:
        amount = Decimal(value)
    except (InvalidOperation, TypeError, ValueError) as error:
        raise SpecError(
            f"the meter's answer: expected an amount in {name}, got {value!r:.40}; "
            "look at the meter's log"
        ) from error
    if not amount.is_finite():
        raise SpecError(f"the meter's answer: expected an amount in {name}, got {value!r:.40}")
    return amount


def _as_is(name: str, value: Any) -> Any:
    return value


def _read(
    kind: type[_Read],
    document: Mapping[str, Any],
    value_of: Callable[[str, Any], Any] = _as_is,
) -> _Read:
    """A dataclass out of those names of a document that it has."""
    if not isinstance(document, Mapping):
        raise SpecError(
            f"the meter's answer: expected a {kind.__name__}, got {document!r:.40}; "
            "look at the meter's log"
        )
    given: Document = {}
    for field in fields(kind):  # type: ignore[arg-type]
        if field.name in document:
            given[field.name] = value_of(field.name, document[field.name])
        elif field.default is MISSING and field.default_factory is MISSING:
            raise SpecError(
                f"the meter's answer: expected {field.name} in a {kind.__name__}, got none; "
                "upgrade the meter, or this Tally"
            )
    return kind(**given)
