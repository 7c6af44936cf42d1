"""/v1: runs, their usage, quotes, bills and events, for whoever may see their namespace.

    GET  /v1/runs[?since=&limit=&bills=]           newest first, each with its bill unless bills=0
    GET  /v1/runs/{run}[/usage|quote|bill|events][?namespace=]   the caller's own, else the only one
    GET  /v1/charges[?since=&until=&run=&namespace=&after=&limit=]   a page of what was charged,
                                                   charging.py
    GET  /v1/lives?pipeline=[&namespace=&since=]   what its pods used, the caller's namespace's
    POST /v1/runs/{run}/usage|quote|events         the caller's own, with an Idempotency-Key;
                                                   taking.py, rates.py
    POST /v1/runs/{run}/resize[?namespace=]        whoever may update its Workflow; wishes.py

An Idempotency-Key names a body: the same key with another body is a conflict. That nothing counts
twice does not hang on it: the ledger's own keys are made of what is written, so the same rows, on
another day or on another replica, come out the same.
"""

import hashlib
import re
from collections.abc import Awaitable, Callable, Sequence
from itertools import repeat
from typing import Any

from aiohttp import web

from tally.costing import documents
from tally.costing.ledger import Ledger
from tally.costing.past_lives import past_lives
from tally.costing.runs import RunRecord
from tally.meter import bodies, charging, taking, wishes
from tally.meter.access import SERVED, caller_of, namespace_of
from tally.meter.answers import answer, asked_schema
from tally.meter.refusal import Refusal
from tally.meter.taking import OwnRun

MOST_RUNS = 1000
_USUAL_RUNS = 100
_KEYS = 4096
_RUN = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", re.ASCII)
_KIND, _MOST_KINDS = re.compile(r"[A-Za-z0-9_.-]{1,128}", re.ASCII), 20
_KEY = re.compile(r"[A-Za-z0-9._:-]{1,128}", re.ASCII)

Json = dict[str, Any]


def routes() -> list[web.RouteDef]:
    """Of /v1."""
    return [
        web.get("/v1/runs", _runs),
        web.get("/v1/charges", _charges),
        web.get("/v1/lives", _lives),
        web.get("/v1/runs/{run}", _read(_run)),
        web.get("/v1/runs/{run}/usage", _read(_usage)),
        web.get("/v1/runs/{run}/quote", _read(_quote)),
        web.get("/v1/runs/{run}/bill", _read(_bill)),
        web.get("/v1/runs/{run}/events", _events),
        web.post("/v1/runs/{run}/usage", _post(taking.take_usage)),
        web.post("/v1/runs/{run}/quote", _post(taking.take_quote)),
        web.post("/v1/runs/{run}/events", _post(taking.take_events)),
        web.post("/v1/runs/{run}/resize", _resize),
    ]


async def _runs(request: web.Request) -> web.Response:
    caller = await caller_of(request)
    served = request.app[SERVED]
    asked_schema(request)
    since = _number(request, "since", 0, 2**52)
    limit = _number(request, "limit", _USUAL_RUNS, MOST_RUNS)
    billed = bool(_number(request, "bills", 1, 1))
    runs = await served.blocking.call(served.ledger.runs)
    runs = [run for run in runs if run.created_at_microseconds >= since]
    if not served.access.reads_all(caller):
        runs = [run for run in runs if run.engine == "cluster"]
        seen = await served.permission.seen(caller, {run.team for run in runs})
        runs = [run for run in runs if run.team in seen]
    facts = await served.blocking.call(_listed, served.ledger, runs[:limit], billed)
    return answer(request, **facts, more=len(runs) > limit)


def _listed(ledger: Ledger, runs: Sequence[RunRecord], billed: bool) -> Json:
    bills = map(documents.bill_document, ledger.bills_of(runs)) if billed else repeat(None)
    pairs = zip(map(documents.run_document, runs), bills, strict=False)
    return {"runs": [{"run": run, "bill": bill} for run, bill in pairs]}


async def _lives(request: web.Request) -> web.Response:
    caller = await caller_of(request)
    served = request.app[SERVED]
    asked_schema(request)
    pipeline, since = request.query.get("pipeline", ""), _number(request, "since", 0, 2**52)
    namespace = _namespace(request) or caller.namespace
    if not _RUN.fullmatch(pipeline):
        raise Refusal(400, "pipeline: expected its label, got another word")
    if not served.access.reads_all(caller):
        await served.permission.require(caller, namespace)
    found = await served.blocking.call(past_lives, served.ledger, pipeline, namespace, since)
    return answer(request, lives=[documents.life_document(life) for life in found])


async def _charges(request: web.Request) -> web.Response:
    caller = await caller_of(request)
    served = request.app[SERVED]
    asked_schema(request)
    run = None
    if run_id := request.query.get("run", ""):
        if not _RUN.fullmatch(run_id):
            raise _no_run(run_id)
        namespace = await namespace_of(served, caller, run_id, _namespace(request))
        if namespace is None:
            raise _no_run(run_id)
        run = namespace, run_id
    asked = charging.Asked(
        since=_number(request, "since", 0, 2**52),
        until=_number(request, "until", 2**52, 2**52),
        run=run,
        after=request.query.get("after", ""),
        limit=max(1, _number(request, "limit", charging.MOST_ROWS, charging.MOST_ROWS)),
    )
    return answer(request, page=await charging.page(served, caller, asked))


def _read(
    facts: Callable[[Ledger, str, str], Json],
) -> Callable[[web.Request], Awaitable[web.Response]]:
    """A handler that reads one run: facts(ledger, run, its namespace)."""

    async def handler(request: web.Request) -> web.Response:
        caller = await caller_of(request)
        served = request.app[SERVED]
        asked_schema(request)
        run_id = _run_id(request)
        namespace = await namespace_of(served, caller, run_id, _namespace(request))
        if namespace is None:
            raise _no_run(run_id)
        found = await served.blocking.call(facts, served.ledger, run_id, namespace)
        return answer(request, **found)

    return handler


def _post(
    take: Callable[[Ledger, OwnRun, Json], Json],
) -> Callable[[web.Request], Awaitable[web.Response]]:
    """A handler that writes to a run of the caller's: take(ledger, run, body)."""

    async def handler(request: web.Request) -> web.Response:
        caller = await caller_of(request)
        served = request.app[SERVED]
        run_id, namespace = _run_id(request), caller.namespace
        size = min(request.content_length or 0, bodies.LARGEST_BYTES)
        served.rates.take(namespace, size)
        asked_schema(request)
        key = (namespace, run_id, request.path.rpartition("/")[2], _idempotency_key(request))
        data = await bodies.read_body(request)
        served.rates.read(namespace, len(data) - size)
        now = served.now_microseconds()
        digest = hashlib.sha256(data).hexdigest()
        if served.keys.get(key, digest) != digest:
            raise Refusal(409, "Idempotency-Key: expected one for each body, got one used before")

        def write() -> Json:
            if not served.ledger.has_run(run_id, namespace):
                raise _no_run(run_id)
            run, body = OwnRun(run_id, namespace, now), dict(bodies.parse_body(data))
            with served.turn((namespace, run_id)):
                return take(served.ledger, run, body)

        facts = await served.blocking.call(write)
        served.keys[key] = digest
        if len(served.keys) > _KEYS:
            served.keys.popitem(last=False)
        return answer(request, **facts)

    return handler


def _run(ledger: Ledger, run_id: str, namespace: str) -> Json:
    if (found := ledger.run(run_id, namespace)) is None:  # only pods of it so far
        raise _no_run(run_id)
    return {"run": documents.run_document(found)}


def _usage(ledger: Ledger, run_id: str, namespace: str) -> Json:
    rows = ledger.usage([run_id])
    shown = (row for row in rows if row.run_key == (namespace, run_id))
    return {"usage": [documents.usage_document(row) for row in shown]}


def _quote(ledger: Ledger, run_id: str, namespace: str) -> Json:
    quote = ledger.quote(run_id, namespace)
    return {"quote": None if quote is None else documents.quote_document(quote)}


def _bill(ledger: Ledger, run_id: str, namespace: str) -> Json:
    if ledger.run(run_id, namespace) is None:  # only pods of it so far
        raise _no_run(run_id)
    return {"bill": documents.bill_document(ledger.bill(run_id, namespace))}


async def _events(request: web.Request) -> web.Response:
    kinds = [kind for kind in request.query.get("kinds", "").split(",") if kind]
    if len(kinds) > _MOST_KINDS or not all(map(_KIND.fullmatch, kinds)):
        raise Refusal(400, f"kinds: expected {_MOST_KINDS} words by commas at most, got others")
    since = _number(request, "since", 0, 2**52)

    def told(ledger: Ledger, run_id: str, namespace: str) -> Json:
        found = ledger.events(run_id, namespace, kinds, since)
        return {"events": [documents.event_document(one) for one in found]}

    return await _read(told)(request)


async def _resize(request: web.Request) -> web.Response:
    caller = await caller_of(request)
    served = request.app[SERVED]
    run_id = _run_id(request)
    size = min(request.content_length or 0, bodies.LARGEST_BYTES)
    served.rates.take(caller.namespace, size)
    asked_schema(request)
    data = await bodies.read_body(request)
    served.rates.read(caller.namespace, len(data) - size)
    namespace = await namespace_of(served, caller, run_id, _namespace(request))
    if not namespace:
        raise _no_run(run_id)
    await served.permission.require_change(caller, namespace)
    run = OwnRun(run_id, namespace, served.now_microseconds())
    by = f"{caller.namespace}/{caller.account}"

    def write() -> Json:
        body = dict(bodies.parse_body(data))
        with served.turn((namespace, run_id)):
            return wishes.take_resize(served.ledger, run, by, body)

    return answer(request, **await served.blocking.call(write))


def _run_id(request: web.Request) -> str:
    text = request.match_info["run"]
    if not _RUN.fullmatch(text):
        raise _no_run(text)
    return text


def _namespace(request: web.Request) -> str:
    """Which one is asked for, "" for none."""
    text = request.query.get("namespace", "")
    if text and not _RUN.fullmatch(text):
        raise Refusal(400, f"namespace: expected a namespace's name, got {text[:64]!a}")
    return text


def _no_run(text: str) -> Refusal:
    return Refusal(404, f"run: expected the id of a run, got {text[:64]!a}; look into /v1/runs")


def _idempotency_key(request: web.Request) -> str:
    given = request.headers.getall("Idempotency-Key", [])
    if len(given) == 1 and _KEY.fullmatch(given[0]):
        return given[0]
    got = "none" if not given else "something else"
    raise Refusal(
        400, f"Idempotency-Key: expected 1 to 128 letters, digits and ._:-, got {got}; send one"
    )


def _number(request: web.Request, name: str, usual: int, most: int) -> int:
    text = request.query.get(name)
    if text is None:
        return usual
    if text.isascii() and text.isdecimal() and len(text) < 20 and int(text) <= most:
        return int(text)
    raise Refusal(400, f"{name}: expected a number up to {most}, got {text[:20]!a}")
