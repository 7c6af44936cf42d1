"""Answers of the meter's HTTP server: JSON with its schema, errors in one sentence and no more."""

import asyncio
import json
import logging
import math
import time
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from tally.costing.documents import OLDEST, SCHEMA
from tally.errors import RunError, SpecError
from tally.meter.refusal import Refusal

_log = logging.getLogger("tally.meter.http")
WIRE_LOG = logging.getLogger("tally.meter.http.wire")
"""aiohttp's own: of a request that is none it would show the bytes, which may hold a token."""

_ASKED = "Tally-Schema"
_CALLER = web.RequestKey("caller", str)


def require_schema(what: str, found: object) -> int:
    """The schema that a client speaks, where this meter does.

    Raises:
        Refusal: it is another one; both are named.
    """
    if isinstance(found, int) and not isinstance(found, bool) and OLDEST <= found <= SCHEMA:
        return found
    served = str(SCHEMA) if OLDEST == SCHEMA else f"{OLDEST} to {SCHEMA}"
    newer = isinstance(found, int) and found > SCHEMA
    remedy = "upgrade the meter" if newer else "use an image of this meter's Tally"
    raise Refusal(400, f"{what}: expected schema {served}, got {found!r:.20}; {remedy}")


def asked_schema(request: web.Request) -> int:
    """The schema in which a client wants its answer: its header's, else this meter's own."""
    given = request.headers.get(_ASKED)
    if given is None:
        return SCHEMA
    return require_schema(_ASKED, int(given) if given.isdecimal() and len(given) < 6 else given)


def answer(request: web.Request, **facts: Any) -> web.Response:
    """200 with these facts."""
    return _json(200, {"schema": asked_schema(request), **facts})


def note_caller(request: web.Request, name: str) -> None:
    """Who asks, for the log."""
    request[_CALLER] = name


def _without_bytes(record: logging.LogRecord) -> bool:
    if record.exc_info and record.exc_info[0]:
        record.msg, record.args = "no request of HTTP: %s", (record.exc_info[0].__name__,)
        record.exc_info = record.exc_text = None
    return True


WIRE_LOG.addFilter(_without_bytes)


@web.middleware
async def in_words(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Errors as one sentence, and a line a request in the log: never a token, never a header."""
    began = time.monotonic()
    response = await _answered(request, handler)
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Cache-Control"] = "no-store"
    resource = request.match_info.route.resource
    where = resource.canonical if resource is not None else "an unknown path"
    if where.startswith("/v1") or response.status >= 400:
        run = request.match_info.get("run", "")
        _log.info(
            "%s %s %s by %s: %d in %d ms",
            request.method if request.method.isalpha() else "?",
            where,
            ascii(run[:64]),
            request.get(_CALLER, "nobody known"),
            response.status,
            math.ceil(1000 * (time.monotonic() - began)),
        )
    return response


async def _answered(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await handler(request)
    except Refusal as refusal:
        return _refused(refusal.status, refusal.sentence, refusal.retry_seconds)
    except web.HTTPException as refused:
        return _refused(refused.status, _in_words(refused))
    except SpecError as error:
        return _refused(422, str(error))
    except RunError as error:
        _log.warning("%s", error)
        return _refused(
            503, "the meter: expected its ledger to answer, got an error; /healthz says which"
        )
    except asyncio.CancelledError:
        raise
    except Exception:
        _log.exception("an error of the meter's own")
        return _refused(
            500, "the meter: expected to answer, got an error of its own; its log says which"
        )


def _in_words(refused: web.HTTPException) -> str:
    """What aiohttp refuses by itself."""
    match refused:
        case web.HTTPRequestEntityTooLarge():
            return "the body: expected 1 MiB at most, got more; send it in parts"
        case web.HTTPMethodNotAllowed():
            allowed = " or ".join(sorted(refused.allowed_methods))
            return f"the method: expected {allowed}, got another"
        case web.HTTPNotFound():
            return "the path: expected /v1/runs, /metrics or /healthz, got another"
    return f"the request: expected one that HTTP allows, got {refused.status}"


def _refused(status: int, sentence: str, retry_seconds: int = 0) -> web.Response:
    response = _json(status, {"schema": SCHEMA, "error": " ".join(sentence.split())})
    if status in (408, 413, 429):
        response.force_close()  # what is left of the body is not read
    if retry_seconds or status == 503:
        response.headers["Retry-After"] = str(retry_seconds or 2)
    if status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def _json(status: int, facts: dict[str, Any]) -> web.Response:
    text = json.dumps(facts, allow_nan=False)
    return web.Response(status=status, text=text, content_type="application/json")
