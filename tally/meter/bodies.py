"""What is posted to the meter: read within limits, checked by field, never believed about money."""

import asyncio
import json
import math
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, NoReturn, TypeVar

from aiohttp import web
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from tally.costing.documents import MEASURED
from tally.costing.quotes import Quote, RunEvent
from tally.meter.answers import Refusal, require_schema

LARGEST_BYTES = 1 << 20
MOST_ROWS = 2000  # in one body
BODY_SECONDS = 10.0
_DEEPEST = 16
_LATEST_MICROSECONDS = 2**52  # in the year 2112

Word = Annotated[str, Field(min_length=1, max_length=128)]
Moment = Annotated[int, Field(ge=1, le=_LATEST_MICROSECONDS)]
Amount = Annotated[float, Field(ge=0, le=1e12)]


class _Posted(BaseModel):
    """Fields that nobody reads are passed over: the meter knows them better, or not yet."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True, allow_inf_nan=False)


class PostedUsage(_Posted):
    """What a conductor may say of a worker's pod. The rest is the pod's own row's."""

    pod_uid: Word
    attempt: int = Field(default=1, ge=1, le=10**6)
    generation: int = Field(default=0, ge=0, le=2**31 - 1)
    phase: Literal["startup", "work", "restart"]
    start_microseconds: Moment
    end_microseconds: Moment | None = None
    heartbeat_at_microseconds: Moment
    wait_seconds: float = Field(default=0.0, ge=0)

    @field_validator("end_microseconds")
    @classmethod
    def _after_start(cls, end: int | None, info: ValidationInfo) -> int | None:
        start = info.data.get("start_microseconds")
        if end is not None and start is not None and end < start:
            raise ValueError("an end before the start")
        return end


class PostedQuote(_Posted):
    """A quote; its run is the address's, its namespace the caller's."""

    made_at_microseconds: Moment
    low_usd: Amount
    expected_usd: Amount
    high_usd: Amount
    budget_usd: Amount | None = None
    document: dict[str, Any] = Field(default_factory=dict)

    def of(self, run_id: str, namespace: str) -> Quote:
        """As the ledger keeps it."""
        return Quote(run_id=run_id, namespace=namespace, **self.model_dump())


class PostedEvent(_Posted):
    """An event; its run is the address's, its namespace the caller's."""

    at_microseconds: Moment
    kind: Word
    step: str = Field(default="", max_length=128)
    facts: dict[str, Any] = Field(default_factory=dict)

    def of(self, run_id: str, namespace: str) -> RunEvent:
        """As the ledger keeps it."""
        return RunEvent(run_id=run_id, namespace=namespace, **self.model_dump())


class PostedResize(_Posted):
    """What somebody wants of a run that trains.

    Attributes:
        workers: how many from now on.
        machine_type: another one of the catalogue, "" for the one that it has.
        wish: made by the client: the same wish posted twice is one.
    """

    workers: int = Field(ge=1, le=10**6)
    machine_type: str = Field(default="", max_length=128)
    wish: Word


_Row = TypeVar("_Row", bound=_Posted)


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


def measured(events: Iterable[PostedEvent]) -> dict[str, Any]:
    """What a run's steps measured, as fields of its record: `measured` events say it. Pure."""
    changes: dict[str, Any] = {}
    for event in events:
        for name, value in event.facts.items() if event.kind == MEASURED else ():
            if name == "examples_trained" and isinstance(value, int):
                changes[name] = min(max(0, value), _LATEST_MICROSECONDS)
            elif name != "examples_trained" and isinstance(value, int | float):
                changes.setdefault("metrics", {})[name[:64]] = float(value)
    return changes


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
