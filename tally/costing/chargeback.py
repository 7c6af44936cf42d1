"""Who pays: charges in any grouping, with what of the nodes nobody held, so that the sum is the
invoice. Pure.
"""

import datetime
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tally.costing.allocation import Charge
from tally.costing.days import Kind, Sum, left_over, parts
from tally.costing.node_shares import NodeAccount
from tally.costing.nodes import Node
from tally.costing.usage import Usage
from tally.errors import SpecError

SCHEMA = 1
KINDS: tuple[Kind, ...] = ("workload", "idle", "overhead")
FIGURES = (
    "hardware_usd", "software_usd", "total_usd", "hours", "cpu_core_hours", "memory_gib_hours",
    "accelerator_hours",
)  # fmt: skip
_ASKED = FIGURES[4:]


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a chargeback: what one group cost.

    Attributes:
        key: the group's value of each name it is grouped by; "" where the name says nothing (a run
            of what is idle).
        kind: workload, or of nodes what nobody held (idle) and the system's reserve (overhead).
    """

    key: tuple[str, ...]
    kind: Kind
    sum: Sum = field(default_factory=Sum)


def chargeback(
    charges: Iterable[Charge], accounts: Iterable[tuple[int, NodeAccount]], by: tuple[str, ...]
) -> list[Line]:
    """Lines by the names in `by` and by kind, sorted.

    Args:
        charges: of any length of time.
        accounts: each with the begin (microseconds UTC) of the day, or of what is shorter or
            longer, that it is of: what was idle cannot be cut by time.
        by: of NAMES.
    """
    lines: dict[tuple[tuple[str, ...], Kind], Sum] = {}
    for one in charges:
        for piece in parts(one):
            key = tuple(_value(name, piece.usage, piece.day_microseconds) for name in by)
            lines.setdefault((key, "workload"), Sum()).add(piece)
    for moment, account in accounts:
        key = tuple(_value(name, account.node, moment) for name in by)
        for kind, rest in left_over(account).items():
            lines.setdefault((key, kind), Sum()).include(rest)
    order = sorted(lines, key=lambda line: (line[0], KINDS.index(line[1])))
    return [Line(key, kind, lines[key, kind]) for key, kind in order]


def total(lines: Iterable[Line]) -> Sum:
    """All lines together."""
    whole = Sum()
    for line in lines:
        whole.include(line.sum)
    return whole


_OF_MACHINE: Mapping[str, Callable[[Any], str]] = {
    "machine_type": lambda one: one.machine_type,
    "spot": lambda one: "spot" if one.spot else "on-demand",
    "provider": lambda one: one.provider,
    "region": lambda one: one.region,
}
_OF_USAGE: Mapping[str, Callable[[Usage], str]] = {
    "team": lambda row: row.team,
    "namespace": lambda row: row.namespace,
    "pipeline": lambda row: row.pipeline,
    "run": lambda row: row.run_id,
    "step": lambda row: row.step,
    "phase": lambda row: row.phase,
}
NAMES = (
    "team", "namespace", "month", "day", "pipeline", "run", "step", "machine_type", "spot",
    "provider", "region", "phase",
)  # fmt: skip
"""What charges can be grouped by."""


def parse_by(text: str) -> tuple[str, ...]:
    """Names out of "team,month".

    Raises:
        SpecError: none, or one that is not of NAMES.
    """
    names = tuple(dict.fromkeys(text.replace(",", " ").split()))
    for name in names or ("nothing",):
        if name not in NAMES:
            raise SpecError(
                f'BY: expected some of {", ".join(NAMES)}, got "{name}"; pass BY=team,month'
            )
    return names


def _value(name: str, of: Usage | Node, moment: int) -> str:
    if name in ("month", "day"):
        day = datetime.datetime.fromtimestamp(moment // 1_000_000, datetime.UTC)
        return f"{day:%Y-%m}" if name == "month" else f"{day:%Y-%m-%d}"
    if name in _OF_MACHINE:
        return _OF_MACHINE[name](of)
    return _OF_USAGE[name](of) if isinstance(of, Usage) else ""


def table(lines: Iterable[Line], by: tuple[str, ...]) -> list[dict[str, Any]]:
    """Lines as rows of a table by column: the names of `by`, kind, FIGURES.

    Of what is idle or overhead nobody asked for cores: those figures are None.
    """
    rows = []
    for line in lines:
        figures = {name: getattr(line.sum, name) for name in FIGURES}
        if line.kind != "workload":
            figures |= dict.fromkeys(_ASKED)
        rows.append(dict(zip(by, line.key, strict=True)) | {"kind": line.kind} | figures)
    return rows
