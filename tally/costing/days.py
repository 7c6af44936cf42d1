"""Charges by day, and sums of them that come out the same in any order. Pure.

What lasts over midnight (UTC) is cut there by time, and amounts are differences of sums up to each
cut: however parts are grouped, the groups add up to the charges to the last digit.
"""

import datetime
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from tally.costing.allocation import MICROSECONDS_PER_HOUR, Charge, usd
from tally.costing.merge import part
from tally.costing.node_shares import NodeAccount
from tally.costing.nodes import Node
from tally.costing.usage import Usage
from tally.errors import SpecError

DAY_MICROSECONDS = 24 * MICROSECONDS_PER_HOUR
_MILLION = 10**6
_GIB = 2**30

Kind = Literal["workload", "idle", "overhead"]


@dataclass(frozen=True, slots=True)
class Part:
    """What of a charge lies in one day.

    Attributes:
        usage: cut to the day, its figures shared by time.
        day_microseconds: when the day begins, UTC.
        billed_microseconds: its share of the machine's time.
    """

    usage: Usage
    day_microseconds: int
    billed_microseconds: int
    hardware_usd: Decimal
    software_usd: Decimal


@dataclass(frozen=True)
class Charged:
    """What was charged.

    Attributes:
        charges: cut to days.
        accounts: of nodes, each with the begin (microseconds UTC) of its day.
        whole: False where nodes are left out, and namespaces too, since whoever asked may not read
            them.
    """

    charges: list[Charge]
    accounts: list[tuple[int, NodeAccount]]
    whole: bool = True


@dataclass(slots=True, kw_only=True)
class Sum:
    """A sum of parts; whole numbers inside, so that the order of adding does not matter."""

    hardware_usd: Decimal = Decimal(0)
    software_usd: Decimal = Decimal(0)
    billed_microseconds: int = 0
    held_microseconds: int = 0
    cpu: int = 0  # millionths of core-microseconds
    memory: int = 0  # byte-microseconds
    accelerator: int = 0  # millionths of accelerator-microseconds

    def add(self, one: Part) -> None:
        """Add a part; what waits in a queue asks for resources and holds none."""
        self.hardware_usd += one.hardware_usd
        self.software_usd += one.software_usd
        self.billed_microseconds += one.billed_microseconds
        row = one.usage
        if row.phase != "queue":
            held = row.stop_microseconds - row.start_microseconds
            self.held_microseconds += held
            self.cpu += held * round(row.cpu_request_cores * _MILLION)
            self.memory += held * row.memory_request_bytes
            self.accelerator += held * round(row.accelerator_count * _MILLION)

    def include(self, other: "Sum") -> None:
        """Add another sum."""
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    @property
    def total_usd(self) -> Decimal:
        """Hardware and software."""
        return self.hardware_usd + self.software_usd

    @property
    def hours(self) -> float:
        """Machine hours billed: of all lines of a cluster, those for which its nodes were there."""
        return self.billed_microseconds / MICROSECONDS_PER_HOUR

    @property
    def cpu_core_hours(self) -> float:
        """Cores asked for × hours."""
        return self.cpu / _MILLION / MICROSECONDS_PER_HOUR

    @property
    def memory_gib_hours(self) -> float:
        """Memory asked for × hours."""
        return self.memory / _GIB / MICROSECONDS_PER_HOUR

    @property
    def accelerator_hours(self) -> float:
        """Accelerators asked for × hours."""
        return self.accelerator / _MILLION / MICROSECONDS_PER_HOUR


def parts(one: Charge) -> Iterator[Part]:
    """A charge cut at each midnight; the parts add up to it exactly."""
    row = one.usage
    begin, stop = row.start_microseconds, row.stop_microseconds
    length = stop - begin
    before = 0, Decimal(0), Decimal(0)
    while True:
        day = begin // DAY_MICROSECONDS * DAY_MICROSECONDS
        end = min(stop, day + DAY_MICROSECONDS)
        passed = end - row.start_microseconds
        billed = one.billed_microseconds * passed // length if length else one.billed_microseconds
        until = (
            billed,
            usd(billed, row.price_usd_per_hour),
            usd(billed, row.software_usd_per_hour),
        )
        yield Part(
            part(row, begin, end),
            day,
            until[0] - before[0],
            until[1] - before[1],
            until[2] - before[2],
        )
        if end == stop:
            return
        begin, before = end, until


def left_over(account: NodeAccount) -> dict[Kind, Sum]:
    """What of a node no pod paid for; licences and surcharges run for the whole node."""
    return {
        "idle": _rest(account.node, account.idle_microseconds),
        "overhead": _rest(account.node, account.overhead_microseconds),
    }


def _rest(node: Node, microseconds: int) -> Sum:
    return Sum(
        hardware_usd=usd(microseconds, node.price_usd_per_hour),
        software_usd=usd(microseconds, node.software_usd_per_hour),
        billed_microseconds=microseconds,
        held_microseconds=microseconds,
    )


def refuse_unpriced(charges: Iterable[Charge], accounts: Iterable[NodeAccount]) -> None:
    """What has no price is never billed as zero.

    Raises:
        SpecError: a machine type's price was not in the catalogue; it is named.
    """
    rows = (one.usage for one in charges)
    found = {row.machine_type for row in rows if row.phase != "queue" and row.is_unpriced}
    nodes = (account.node for account in accounts)
    found |= {n.machine_type for n in nodes if not (n.price_usd_per_hour or n.catalogue_version)}
    if found:
        names = sorted(found)
        raise SpecError(
            f"bill: expected a price of machine type {', '.join(names)}, got none in the "
            f"catalogue; write machine_types.{names[0]} into the file of TALLY_MACHINES"
        )


def window(since: str, until: str) -> tuple[int, int | None]:
    """From when to when, in microseconds UTC: the begins of two days.

    Args:
        since, until: YYYY-MM-DD; "" for the first day that there is, and until now.

    Raises:
        SpecError: no date, or no time between them.
    """
    begin = _midnight("SINCE", since) if since else 0
    end = _midnight("UNTIL", until) if until else None
    if since and end is not None and end <= begin:
        raise SpecError(
            f"UNTIL: expected a day after SINCE={since}, got {until}; the day UNTIL is not "
            "charged any more: pass the day after the last"
        )
    return begin, end


def _midnight(name: str, text: str) -> int:
    try:
        day = datetime.datetime.strptime(text.strip(), "%Y-%m-%d").replace(tzinfo=datetime.UTC)
    except ValueError as error:
        raise SpecError(
            f'{name}: expected a day like 2026-11-01 (UTC), got "{text}"; pass {name}=2026-11-01'
        ) from error
    return int(day.timestamp()) * 1_000_000
