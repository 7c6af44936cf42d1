"""The bill of a run, from its charges: what, where, how much, and what of it was wasted. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_FLOOR, ROUND_HALF_UP, Decimal
from typing import Any

from tally.costing.allocation import Charge, usd
from tally.costing.runs import RunRecord, State
from tally.costing.usage import PHASES, Phase
from tally.costing.wall import wall
from tally.tasks import reading
from tally.tasks.task import Headline

SCHEMA = 1
_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class BillLine:
    """What one phase of one step cost; step is "" where a line sums over all steps.

    seconds are machine time billed (its share where several hold the machine), of pods the time
    for which they lasted, in the phase queue the time waited, which costs no hardware.
    """

    step: str
    phase: Phase
    seconds: float
    hardware_usd: Decimal
    software_usd: Decimal

    @property
    def usd(self) -> Decimal:
        """Hardware and software together."""
        return self.hardware_usd + self.software_usd


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """A run's bill. Amounts are exact: lines and time_usd add up to total_usd to the last digit.

    Attributes:
        lines: by step and phase, in the order in which the steps began.
        wall_seconds: over all attempts, without the gaps between them: when anything of the run
            was there; on a cluster from its creation to its end.
        billed_seconds: machine time charged to the run: wall_seconds unless it shared the machine
            or queued. A pod's is its share of the node's time.
        time_usd: value_of_hour_usd × wall hours.
        price_usd_per_hour: of the machine, as of the newest interval; None without usage.
        examples: trained, counted once each epoch; None if nothing was trained.
        measure: name of the measure that its model is known by, of tally.tasks.
        result: its value; None if nothing was evaluated.
        usd_per_example, usd_per_point: the total over examples, over hundredths of a share.
        wasted: one line a phase (queue, startup, restart) that held anything.
        confirmed: False where a worker's usage is its conductor's word only.
        unpriced: machine types of the run whose price is not known; their hardware is not in it.
        words: how its measures are read, as RunRecord says.
        platform_seconds: of wall_seconds, when no pod of its steps was there: Kubeflow's own.
    """

    run_id: str
    pipeline: str
    state: State
    attempts: int
    lines: tuple[BillLine, ...]
    wall_seconds: float
    billed_seconds: float
    hardware_usd: Decimal
    software_usd: Decimal
    time_usd: Decimal
    total_usd: Decimal
    value_of_hour_usd: float
    price_usd_per_hour: float | None
    examples: int | None
    measure: str
    result: float | None
    usd_per_example: Decimal | None
    usd_per_point: Decimal | None
    wasted: tuple[BillLine, ...]
    confirmed: bool = True
    unpriced: tuple[str, ...] = ()
    platform_seconds: float = 0.0
    words: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_final(self) -> bool:
        """Whether the run has ended in the ledger: all its rows are closed."""
        return self.state != "running"

    @property
    def headline(self) -> Headline:
        """The words of its measure."""
        return reading.words(self.words, [self.measure]).headline

    @property
    def plain(self) -> dict[str, Any]:
        """All but lists; the result by the names that its task gives it."""
        left_out = (*_LISTS, "measure", "result", "usd_per_point", "unpriced", "words")
        found = {name: getattr(self, name) for name in self.__slots__ if name not in left_out}
        headline = self.headline
        found[headline.name] = self.result
        found |= {headline.usd: self.usd_per_point} if headline.usd else {}
        return found | ({"words": dict(self.words)} if self.words else {})

    def as_json(self) -> dict[str, Any]:
        """The bill as JSON's types; amounts are numbers, in USD."""
        return {
            "schema": SCHEMA,
            **{name: _number(value) for name, value in self.plain.items()},
            "unpriced": list(self.unpriced),
            **{name: [_line_json(line) for line in getattr(self, name)] for name in _LISTS},
        }


_LISTS = ("lines", "wasted")


def _number(value: Any) -> Any:
    return float(value) if isinstance(value, Decimal) else value


def _line_json(line: BillLine) -> dict[str, Any]:
    return {name: _number(getattr(line, name)) for name in line.__slots__}


def make_bill(run: RunRecord, charges: Sequence[Charge], value_of_hour_usd: float) -> Bill:
    """The bill of `run`.

    Args:
        charges: of this run (others are passed over), from merged usage.
        value_of_hour_usd: what an hour of waiting is worth to the user.
    """
    own = [charge for charge in charges if charge.usage.run_id == run.id]
    lines = _lines(own)
    hardware = sum((line.hardware_usd for line in lines), _ZERO)
    software = sum((line.software_usd for line in lines), _ZERO)
    waited = wall(run, (charge.usage for charge in own))
    time = usd(waited.microseconds, value_of_hour_usd)
    total = hardware + software + time
    headline = reading.words(run.words, run.metrics).headline
    result = run.metrics.get(headline.name)
    priced = bool(headline.usd and result)
    examples = run.examples_trained or None
    newest = max(own, key=lambda charge: charge.usage.start_microseconds, default=None)
    return Bill(
        run_id=run.id,
        pipeline=run.pipeline,
        state=run.state,
        attempts=run.attempt,
        lines=lines,
        wall_seconds=waited.microseconds / 1e6,
        billed_seconds=sum(charge.billed_microseconds for charge in own) / 1e6,
        hardware_usd=hardware,
        software_usd=software,
        time_usd=time,
        total_usd=total,
        value_of_hour_usd=value_of_hour_usd,
        price_usd_per_hour=newest.usage.price_usd_per_hour if newest else None,
        examples=examples,
        measure=headline.name,
        result=result,
        usd_per_example=total / examples if examples else None,
        usd_per_point=total / (100 * Decimal(str(result))) if priced else None,
        wasted=_wasted(lines),
        confirmed=all(charge.usage.confirmed for charge in own),
        unpriced=_unpriced(own),
        platform_seconds=waited.platform_microseconds / 1e6,
        words=run.words,
    )


def _lines(charges: Sequence[Charge]) -> tuple[BillLine, ...]:
    """Charges summed by step and phase, steps in the order in which they began."""
    times: dict[tuple[str, Phase, float, float], int] = {}
    shown: dict[tuple[str, Phase], int] = defaultdict(int)
    began: dict[str, int] = {}
    for charge in charges:
        row = charge.usage
        step, start = row.step, row.start_microseconds
        if start <= began.get(step, start):
            began[step] = start
        key = (step, row.phase, row.price_usd_per_hour, row.software_usd_per_hour)
        times[key] = times.get(key, 0) + charge.billed_microseconds
        held = row.stop_microseconds - row.start_microseconds
        by_time = row.phase == "queue" or row.source != "local"
        shown[step, row.phase] += held if by_time else charge.billed_microseconds
    sums: dict[tuple[str, Phase], tuple[Decimal, Decimal]] = {}
    for (step, phase, price, software), time in times.items():
        hardware, licences = sums.get((step, phase), (_ZERO, _ZERO))
        sums[step, phase] = hardware + usd(time, price), licences + usd(time, software)
    keys = sorted(sums, key=lambda key: (began[key[0]], key[0], PHASES.index(key[1])))
    return tuple(BillLine(*key, shown[key] / 1e6, *sums[key]) for key in keys)


def _unpriced(charges: Iterable[Charge]) -> tuple[str, ...]:
    """Machine types without a price that held hardware."""
    rows = (charge.usage for charge in charges)
    return tuple(sorted({r.machine_type for r in rows if r.phase != "queue" and r.is_unpriced}))


def _wasted(lines: Iterable[BillLine]) -> tuple[BillLine, ...]:
    """Of each phase that is waste, the sum over the steps."""
    sums: dict[Phase, tuple[float, Decimal, Decimal]] = {}
    for line in lines:
        if line.phase != "work":
            seconds, hardware, software = sums.get(line.phase, (0.0, _ZERO, _ZERO))
            sums[line.phase] = (
                round(seconds + line.seconds, 6),
                hardware + line.hardware_usd,
                software + line.software_usd,
            )
    return tuple(BillLine("", phase, *sums[phase]) for phase in sorted(sums, key=PHASES.index))


@dataclass(frozen=True, slots=True)
class Display:
    """A bill rounded for people: every sum of printed amounts is the printed sum.

    Amounts carry exactly `decimals` digits after the point, so f"${amount}" prints them.

    Attributes:
        lines: the bill's, rounded; a line's usd is its hardware_usd + software_usd.
        hardware_usd, software_usd: what the lines' columns add up to.
        total_usd: hardware_usd + software_usd + time_usd, and the exact total rounded.
    """

    decimals: int
    lines: tuple[BillLine, ...]
    hardware_usd: Decimal
    software_usd: Decimal
    time_usd: Decimal
    total_usd: Decimal


def display_lines(bill: Bill) -> Display:
    """The bill rounded by largest remainder: first its three parts, then each part's lines.

    Cents from one dollar on; below, as many decimals (6 at most) as show two digits of the
    smallest of the three parts.
    """
    parts = [bill.hardware_usd, bill.software_usd, bill.time_usd]
    decimals = _decimals(bill.total_usd, parts)
    total = bill.total_usd.quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP)
    hardware, software, time = _round_to(parts, total, decimals)
    hardwares = _round_to([line.hardware_usd for line in bill.lines], hardware, decimals)
    softwares = _round_to([line.software_usd for line in bill.lines], software, decimals)
    lines = tuple(
        BillLine(line.step, line.phase, line.seconds, hardwares[index], softwares[index])
        for index, line in enumerate(bill.lines)
    )
    return Display(decimals, lines, hardware, software, time, total)


def _decimals(total: Decimal, parts: Iterable[Decimal]) -> int:
    smallest = min((part for part in parts if part > 0), default=total)
    if total >= 1 or not smallest:
        return 2
    return min(6, max(2, 1 - smallest.adjusted()))


def _round_to(amounts: Sequence[Decimal], total: Decimal, decimals: int) -> list[Decimal]:
    """Amounts rounded to `decimals`, none by more than one unit, adding up to `total`.

    The total must lie within one unit for each amount of their sum, as it does when rounded itself.
    """
    unit = Decimal(1).scaleb(-decimals)
    rounded = [amount.quantize(unit, ROUND_FLOOR) for amount in amounts]
    missing = int((total - sum(rounded, _ZERO)) / unit)
    ranked = sorted(range(len(amounts)), key=lambda index: rounded[index] - amounts[index])
    for index in ranked[:missing]:
        rounded[index] += unit
    return rounded
