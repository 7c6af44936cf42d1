"""A bill laid out for reading: its parts, its steps with their phases, what was wasted. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from tally.costing.bill import Bill, BillLine, display_lines
from tally.reports import words

PHASES = {
    "queue": "waiting for a machine",
    "startup": "starting up",
    "work": "at work",
    "restart": "starting again, and work done again",
}
BETWEEN = "start, end and between steps"  # what submit is billed for: moments with no step running


@dataclass(frozen=True)
class Slice:
    """A part of a whole, in percent: where it begins and how wide it is."""

    x: float
    width: float
    style: str
    label: str
    title: str


@dataclass(frozen=True)
class Entry:
    """One printed line; share is of the hardware and software of the run, 0..1."""

    step: str
    phase: str
    meaning: str
    seconds: float
    hardware_usd: str
    software_usd: str
    share: float


@dataclass(frozen=True)
class Total:
    """One step, all its phases together."""

    step: str
    title: str


@dataclass(frozen=True)
class Money:
    """What the templates and the terminal print; every amount is text, rounded to add up.

    billed says what the hardware was billed by.
    """

    entries: tuple[Entry, ...]
    hardware_usd: str
    software_usd: str
    time_usd: str
    total_usd: str
    parts: tuple[Slice, ...]
    steps: tuple[Slice, ...]
    by_step: tuple[Total, ...]
    wasted_usd: str
    wasted_share: float
    wasted: tuple[Entry, ...]
    by_seconds: bool
    description: str
    billed: str


def lay_out(bill: Bill) -> Money:
    """The bill in print: amounts from `display_lines`, so that printed lines add up."""
    shown = display_lines(bill)
    weights = _weights(bill.lines)
    whole = sum(weights)
    entries = [
        _entry(line, weight / whole if whole else 0.0)
        for line, weight in zip(shown.lines, weights, strict=True)
    ]
    amounts = {
        "hardware": (bill.hardware_usd, shown.hardware_usd),
        "software": (bill.software_usd, shown.software_usd),
        "time": (bill.time_usd, shown.time_usd),
    }
    steps = _steps(entries)
    wasted = [_entry(line, _share(line.usd, bill)) for line in bill.wasted if line.seconds > 0]
    lost = sum((line.usd for line in bill.wasted), Decimal(0))
    totals = _totals(entries)
    told = ", ".join(total.title for total in totals)
    return Money(
        entries=tuple(entries),
        hardware_usd=f"${shown.hardware_usd}",
        software_usd=f"${shown.software_usd}",
        time_usd=f"${shown.time_usd}",
        total_usd=f"${shown.total_usd}",
        parts=tuple(_parts(amounts, float(bill.total_usd))),
        steps=tuple(steps),
        by_step=tuple(totals),
        wasted_usd=words.usd(lost, max(shown.decimals, words.decimals_for(lost))),
        wasted_share=_share(lost, bill),
        wasted=tuple(wasted),
        by_seconds=_hardware_and_software(bill.lines) == 0,
        description=f"Hardware and software by step: {told}." if told else "",
        billed="part of nodes' time" if _is_shared(bill) else "machine time",
    )


def _is_shared(bill: Bill) -> bool:
    """Whether pods held less than all of their nodes: their lines tell how long they lasted."""
    lasted = sum(line.seconds for line in bill.lines if line.phase != "queue")
    return lasted - bill.billed_seconds > 0.05


def _hardware_and_software(lines: Sequence[BillLine]) -> Decimal:
    return sum((line.usd for line in lines), Decimal(0))


def _weights(lines: Sequence[BillLine]) -> list[float]:
    """What lines are compared by: dollars, or seconds where every price is zero."""
    if _hardware_and_software(lines) > 0:
        return [float(line.usd) for line in lines]
    return [line.seconds for line in lines]


def _share(amount: Decimal, bill: Bill) -> float:
    whole = bill.hardware_usd + bill.software_usd
    return float(amount / whole) if whole else 0.0


def _entry(line: BillLine, share: float) -> Entry:
    return Entry(
        step=line.step,
        phase=line.phase,
        meaning=BETWEEN if line.step == "submit" else PHASES[line.phase],
        seconds=line.seconds,
        hardware_usd=f"${line.hardware_usd}",
        software_usd=f"${line.software_usd}",
        share=share,
    )


def _parts(amounts: dict[str, tuple[Decimal, Decimal]], total: float) -> list[Slice]:
    slices, x = [], 0.0
    for name, (exact, printed) in amounts.items():
        width = 100 * float(exact) / total if total else 0.0
        if width > 0:
            slices.append(Slice(x, width, f"part-{name}", name, f"{name} ${printed}"))
        x += width
    return slices


def _totals(entries: Sequence[Entry]) -> list[Total]:
    shares: dict[str, float] = {}
    for entry in entries:
        shares[entry.step] = shares.get(entry.step, 0.0) + entry.share
    return [
        Total(step, f"{step} {words.percent(min(1.0, share))}") for step, share in shares.items()
    ]


def _steps(entries: Sequence[Entry]) -> list[Slice]:
    """One slice a step and phase, so that a step's phases lie side by side in its colour."""
    slices, x = [], 0.0
    for entry in entries:
        width = 100 * entry.share
        if width > 0:
            title = f"{entry.step}, {entry.meaning}: {words.percent(entry.share)}"
            slices.append(Slice(x, width, f"{entry.step}/{entry.phase}", entry.step, title))
        x += width
    return slices
