"""Who pays for a machine that several hold at once. Pure."""

import functools
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from tally.costing.usage import Usage

MICROSECONDS_PER_HOUR = 3_600_000_000
_DIGITS = 15  # of a dollar: sums of such amounts below 10^13 USD are exact in Decimal's 28 digits
_NOTHING = Decimal(0).scaleb(-_DIGITS)


@dataclass(frozen=True, slots=True)
class Charge:
    """Usage × price.

    Attributes:
        usage: the merged interval.
        billed_microseconds: its share of the machine's time; the shares of all intervals on a
            machine add up to the time at which at least one lasted, exactly.
    """

    usage: Usage
    billed_microseconds: int

    @property
    def billed_seconds(self) -> float:
        """billed_microseconds in seconds."""
        return self.billed_microseconds / 1e6

    @property
    def hardware_usd(self) -> Decimal:
        """Billed time × the machine's price."""
        return usd(self.billed_microseconds, self.usage.price_usd_per_hour)

    @property
    def software_usd(self) -> Decimal:
        """Billed time × the price of licences and surcharges."""
        return usd(self.billed_microseconds, self.usage.software_usd_per_hour)


def usd(microseconds: int, usd_per_hour: float) -> Decimal:
    """What so many microseconds cost at a price an hour, rounded half up to 10⁻¹⁵ USD."""
    if not usd_per_hour:
        return _NOTHING
    numerator, denominator = _price(usd_per_hour)
    units = (2 * microseconds * numerator + denominator) // (2 * denominator)
    return Decimal(units).scaleb(-_DIGITS)


@functools.lru_cache(maxsize=1024)
def _price(usd_per_hour: float) -> tuple[int, int]:
    """A price an hour as written (0.1 is a tenth) in 10⁻¹⁵ USD a microsecond, as a fraction."""
    price = Fraction(str(usd_per_hour)) * 10**_DIGITS / MICROSECONDS_PER_HOUR
    return price.numerator, price.denominator


def charge(rows: Sequence[Usage]) -> list[Charge]:
    """Charges of merged usage, in the order of `rows`.

    On each node the time at which at least one interval lasts is shared, at every moment, among
    those that last then by the cores they hold; intervals that hold none get a share only while
    nobody holds any, then equally. An interval in the phase queue holds no machine and gets
    nothing.

    Args:
        rows: as `merge` gives them, of every run that was on these nodes at these times.
    """
    billed = [0] * len(rows)
    by_node: dict[str, list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        if row.phase != "queue":
            by_node[row.node_uid].append(index)
    for indexes in by_node.values():
        _share_node(rows, indexes, billed)
    return list(map(Charge, rows, billed))


def _share_node(rows: Sequence[Usage], indexes: list[int], billed: list[int]) -> None:
    """Sweep over one node's begins and ends, adding each moment's shares to `billed`."""
    count = len(indexes)
    times = [rows[index].start_microseconds for index in indexes]
    times += [rows[index].stop_microseconds for index in indexes]
    weights = [_weight(rows[index].cpu_request_cores) for index in indexes]
    cored: dict[int, int] = {}  # index into rows → weight, of those that last now
    coreless: dict[int, int] = {}
    before = 0
    for event in sorted(range(2 * count), key=times.__getitem__):  # stable: begins before ends
        now = times[event]
        holders = cored or coreless
        if now > before and holders:
            if len(holders) == 1:
                (only,) = holders
                billed[only] += now - before
            else:
                _share(rows, holders, now - before, billed)
        before = now
        begins = event < count
        position = event if begins else event - count
        weight = weights[position]
        side = cored if weight else coreless
        if begins:
            side[indexes[position]] = weight or 1
        else:
            del side[indexes[position]]


def _weight(cores: float) -> int:
    """Cores in millionths, so that shares are integer arithmetic; 0 only for none."""
    return max(1, round(cores * 1_000_000)) if cores > 0 else 0


def _share(
    rows: Sequence[Usage], holders: dict[int, int], microseconds: int, billed: list[int]
) -> None:
    """Share one moment's time by weight, whole microseconds, by largest remainder.

    Ties go by the rows themselves, not by their place, so that a run's bill is the same alone and
    among all.
    """
    total = sum(holders.values())
    left = microseconds
    remainders = {}
    for index, weight in holders.items():
        share, remainder = divmod(microseconds * weight, total)
        billed[index] += share
        left -= share
        if remainder:
            remainders[index] = remainder
    if left:
        ranked = sorted(remainders, key=lambda index: (-remainders[index], *_order(rows[index])))
        for index in ranked[:left]:
            billed[index] += 1


def _order(row: Usage) -> tuple[str, str, str, int, str, str]:
    """No two that `merge` gives are alike in all of these and last at once."""
    return row.run_id, row.step, row.worker, row.start_microseconds, row.pod_uid, row.source
