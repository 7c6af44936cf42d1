"""What is posted to the meter: read within limits, checked by field, never believed about money."""

import asyncio
import json
import math
from collections.abc import Mapping
from typing import Any, NoReturn, TypeVar

from aiohttp import web
from pydantic import (
    ValidationError,
)

from tally.meter.answers import require_schema
from tally.meter.posts import Posted
from tally.meter.refusal import Refusal

LARGEST_BYTES = 1 << 20
MOST_ROWS = 2000  # in one body
BODY_SECONDS = 10.0
_DEEPEST = 16


_Row = TypeVar("_Row", bound=Posted)


async def read_body(request: web.Request) -> bytes:
    """The body as it came.

    Raises:
        Refusal: it is packed or too slow; HTTPRequestEntityTooLarge: too large.
    """
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Refusal(415, "Content-Encoding: expected identity, got another; send plain JSON")
    if (request.content_length or 0) > LARGEST_BYTES:
        raise web.HTTPRequestEntityTooLarge(LARGEST_BYTES)
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await request.read()
    except TimeoutError as error:
        raise Refusal(
            408, f"the body: expected it within {BODY_SECONDS:.0f} s, got a part; send it again"
        ) from error


def parse_body(data: bytes) -> Mapping[str, Any]:
    """A body as an object of a schema that this meter serves.

    Raises:
        Refusal: it is no JSON, too deep, of another schema.
    """
    try:
        body = json.loads(data, parse_constant=_no_number)
        _require_plain(body)
    except (ValueError, RecursionError) as error:
        words = "too deep" if isinstance(error, RecursionError) else ascii(str(error))[:100]
        raise Refusal(400, f"the body: expected JSON, got something else ({words})") from error
    if not isinstance(body, dict):
        raise Refusal(400, "the body: expected an object with its schema, got something else")
    require_schema("the body", body.get("schema"))
    return body


def posted_rows(body: Mapping[str, Any], name: str, kind: type[_Row]) -> list[_Row]:
    """The rows of a body under this name, each checked.

    Raises:
        Refusal: 400, naming the first field that is wrong.
    """
    rows = body.get(name)
    if not isinstance(rows, list) or len(rows) > MOST_ROWS:
        got = f"{len(rows)}" if isinstance(rows, list) else "none"
        raise Refusal(400, f"{name}: expected a list of {MOST_ROWS} rows at most, got {got}")
    return [posted(row, f"{name}[{index}]", kind) for index, row in enumerate(rows)]


def posted(row: object, name: str, kind: type[_Row]) -> _Row:
    """One posted thing, checked.

    Raises:
        Refusal: 400, naming the first field that is wrong.
    """
    try:
        return kind.model_validate(row)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join((name, *map(str, first["loc"])))
        words = first["msg"][:1].lower() + first["msg"][1:]
        shown = ascii(first["input"])[:60]
        raise Refusal(400, f"{where}: expected a good value, got {shown}: {words}") from error


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number of JSON")


def _require_plain(value: object, depth: int = 0) -> None:
    """Refuse what a database or another reader of JSON would choke on."""
    if depth > _DEEPEST:
        raise RecursionError
    match value:
        case dict():
            for name, held in value.items():
                _require_plain(name, depth)
                _require_plain(held, depth + 1)
        case list():
            for held in value:
                _require_plain(held, depth + 1)
        case str():
            value.encode()  # a lone surrogate is a ValueError
            if "\0" in value:
                raise ValueError("a string with a NUL")
        case float() if not math.isfinite(value):
            raise ValueError("a number too large")
