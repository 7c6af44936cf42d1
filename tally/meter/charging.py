"""What a time cost, a page at a time, to whoever may see it.

The charges of a pod depend on all that shared its node, and on the node: they are made here, where
all of that is, and only those that the caller may see leave. A page is filled day by day. What is
over comes out the same however it is cut into pages; a day that still goes on may have grown from
one to the next.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from tally.costing import documents
from tally.costing.allocation import Charge
from tally.costing.charged import charged_on, charges_of, days
from tally.costing.runs import RunKey
from tally.meter.access import Served
from tally.meter.identity import Caller
from tally.meter.refusal import Refusal

MOST_ROWS = 5_000  # in a page; a row is a kilobyte
_AGAIN_SECONDS = 2
_SECONDS = 5.0  # after which no other day is begun: a large cluster's takes seconds


@dataclass(frozen=True)
class Asked:
    """What a page is asked for.

    Attributes:
        since, until: microseconds UTC, of days that they touch.
        run: whose charges alone, without nodes; None for all.
        after: the usage_id that the last page ended with, of the first day; "" for its begin.
        limit: rows.
    """

    since: int
    until: int
    run: RunKey | None
    after: str
    limit: int


async def page(served: Served, caller: Caller, asked: Asked) -> dict[str, Any]:
    """Charges, nodes' accounts for callers who read everything, and where the next page begins.

    Each page is made of a whole day of the cluster's: one is made at a time, and a namespace asks
    for one at a time.

    Raises:
        Refusal: 429 for who has another page on the way; 503 while nobody can tell what the caller
            may see.
    """
    served.rates.take(caller.namespace, 0)
    if caller.namespace in served.charging:
        raise Refusal(
            429,
            "charges: expected a namespace's accounts to ask for one page at a time, got another "
            f"request; ask again in {_AGAIN_SECONDS} s",
            _AGAIN_SECONDS,
        )
    served.charging.add(caller.namespace)
    try:
        async with served.one_page:
            return await _page(served, caller, asked)
    finally:
        served.charging.discard(caller.namespace)


async def _page(served: Served, caller: Caller, asked: Asked) -> dict[str, Any]:
    call, ledger = served.blocking.call, served.ledger
    reads_all = served.access.reads_all(caller)
    told: dict[str, Any] = {
        "charges": [], "accounts": [], "whole": reads_all or asked.run is not None, "next": None,
    }  # fmt: skip
    began, after = time.monotonic(), asked.after
    for number, day in enumerate(await call(days, ledger, asked.since, asked.until, asked.run)):
        left = asked.limit - len(told["charges"])
        if number and (left <= 0 or time.monotonic() - began > _SECONDS):
            told["next"] = {"since": day, "after": ""}
            break
        period = await call(charged_on, ledger, day)
        own = await call(charges_of, period, asked.run)
        if not (reads_all or asked.run):
            pods = [one for one in own if one.usage.source != "local"]
            seen = await served.permission.seen(caller, {one.usage.namespace for one in pods})
            own = [one for one in pods if one.usage.namespace in seen]
        charges, last = await call(_cut, own, after, left)
        told["charges"] += charges
        if reads_all and not (asked.run or after):
            told["accounts"] += [documents.account_document(day, one) for one in period.accounts]
        if last:
            told["next"] = {"since": day, "after": last}
            break
        after = ""
    return told


def _cut(own: Sequence[Charge], after: str, most: int) -> tuple[list[documents.Document], str]:
    """So many of these as documents, by usage_id, and the last one's where others follow."""
    rows = sorted(((one.usage.usage_id, one) for one in own), key=itemgetter(0))
    rows = [row for row in rows if row[0] > after]
    while most < len(rows) and rows[most][0] == rows[most - 1][0]:
        most += 1
    last = rows[most - 1][0] if most < len(rows) else ""
    return [documents.charge_document(one) for _, one in rows[:most]], last
