"""What would change a quote: other hardware, other data, another model, another optimiser. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tally.costing.quote import Others, Range, Row, price


@dataclass(frozen=True, slots=True)
class WhatIf:
    """One change, and the whole run with it.

    Attributes:
        name: of the change.
        seconds, usd: of the run.
        basis: measured, extrapolated or listed.
    """

    name: str
    seconds: Range
    usd: Range
    basis: str


def what_ifs(
    picked: Row,
    rows: Sequence[Row],
    others: Others,
    steps: Mapping[str, float],
    width: float,
) -> list[WhatIf]:
    """The picked size with one thing changed at a time.

    Args:
        picked: the size of the quote.
        rows: all sizes.
        others: what is not training.
        steps: by name of a change to the model or the optimiser, by how much a step's time
            changes: from closed forms.
        width: of the intervals.
    """
    found = []
    elsewhere = [
        row
        for row in rows
        if row.candidate.machine_type != picked.candidate.machine_type
        and not row.candidate.excluded
    ]
    for what, key in (("cheapest", _usd), ("fastest", _seconds)):
        if elsewhere:
            best = min(elsewhere, key=key)
            name = f"other hardware, the {what}: {best.name}"
            found.append(WhatIf(name, best.seconds, best.usd, best.candidate.basis))
    for name, factor in (("half the data", 0.5), ("double the data", 2.0)):
        changed = replace(picked.candidate, steps=picked.candidate.steps * factor)
        found.append(_priced(name, price(changed, others, width), picked.candidate.basis))
    for name, factor in steps.items():
        changed = replace(picked.candidate, step=picked.candidate.step.times(factor))
        found.append(_priced(name, price(changed, others, width), "extrapolated"))
    return found


def _priced(name: str, row: Row, basis: str) -> WhatIf:
    return WhatIf(name, row.seconds, row.usd, basis)


def _usd(row: Row) -> float:
    return row.usd.expected


def _seconds(row: Row) -> float:
    return row.seconds.expected
