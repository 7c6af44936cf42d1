"""Who may read and post what of the meter's.

A run is its namespace's: a pod of another one that wears its label is of another run. Its own
service accounts may read it and post to it; those of the meter's namespace, and of namespaces that
the meter was told, may read everything. Others may read it where the API server lets them get that
namespace's Workflows (permission.py).
"""

import asyncio
import threading
import zlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from aiohttp import web

from tally.costing.ledger import Ledger
from tally.costing.runs import RunKey
from tally.meter.answers import note_caller
from tally.meter.blocking import Blocking
from tally.meter.identity import Caller, Identity
from tally.meter.permission import Permission
from tally.meter.rates import Rates
from tally.meter.refusal import Refusal

_TURNS = 16


@dataclass(frozen=True)
class Access:
    """Who may read more than the runs of their own namespace.

    Attributes:
        own_namespace: the meter's.
        readers: other namespaces whose service accounts read everything: Prometheus's, finance's.
        metrics_open: /metrics asks for no token: a NetworkPolicy keeps strangers away.
    """

    own_namespace: str
    readers: frozenset[str] = frozenset()
    metrics_open: bool = False

    def reads_all(self, caller: Caller) -> bool:
        """Whether every namespace's runs are this caller's to read."""
        return caller.namespace == self.own_namespace or caller.namespace in self.readers


@dataclass(frozen=True)
class Served:
    """What the handlers work with.

    Attributes:
        ledger, identity, permission, access: as they are called.
        now_microseconds: the cluster's time, UTC.
        rates: what each namespace may post.
        blocking: the threads for the ledger.
        keys: the digest of the body that came with an Idempotency-Key, of the last so many.
        turns: one post of a run at a time, since what there is is counted before it grows.
        charging: namespaces that wait for a page of charges, or have it made.
        one_page: a page at a time, since each takes a day of the cluster's into memory.
    """

    ledger: Ledger
    identity: Identity
    permission: Permission
    access: Access
    now_microseconds: Callable[[], int]
    rates: Rates = field(default_factory=Rates)
    blocking: Blocking = field(default_factory=Blocking)
    keys: "OrderedDict[tuple[str, ...], str]" = field(default_factory=OrderedDict)
    turns: tuple[threading.Lock, ...] = field(
        default_factory=lambda: tuple(threading.Lock() for _ in range(_TURNS))
    )

    charging: set[str] = field(default_factory=set)
    one_page: asyncio.Lock = field(default_factory=asyncio.Lock)

    def turn(self, run: RunKey) -> threading.Lock:
        """What a post of this run holds while it reads and writes the ledger."""
        return self.turns[zlib.crc32("/".join(run).encode()) % len(self.turns)]


SERVED = web.AppKey("served", Served)


async def caller_of(request: web.Request) -> Caller:
    """Whose token the request carries.

    Raises:
        Refusal: nobody's who may ask.
    """
    headers = request.headers.getall("Authorization", [])
    caller = await request.app[SERVED].identity.caller(headers)
    note_caller(request, f"{caller.namespace}/{caller.account}")
    return caller


async def namespace_of(served: Served, caller: Caller, run_id: str, asked: str) -> str | None:
    """The namespace whose run of that id the caller may read and means: the one asked for, else
    the caller's own, else the only one.

    Args:
        asked: a namespace, "" for none.

    Returns:
        "" for a run of a machine of its own, None where there is none that this caller may know of.

    Raises:
        Refusal: 403 where it may not be read, 409 where it may be one of several, 503 while nobody
            can tell.
    """
    ledger, reads_all = served.ledger, served.access.reads_all(caller)
    if asked and not reads_all:
        await served.permission.require(caller, asked)
    usual = asked or caller.namespace
    if await served.blocking.call(ledger.has_run, run_id, usual):
        return usual
    if asked:
        return None
    found = await served.blocking.call(ledger.run_namespaces, run_id)
    if not (others := found - {""}):
        return "" if found and reads_all else None
    if not reads_all:
        others = await served.permission.readable(caller, others)
    if len(others) > 1:
        raise Refusal(
            409,
            f"run: expected an id of one run, got one of each of the namespaces "
            f"{', '.join(sorted(others))}; choose one by NAMESPACE=, of the API by ?namespace=",
        )
    return min(others)
