"""What may be posted to the meter, field by field. Pure."""

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from tally.costing.documents import MEASURED
from tally.costing.quotes import Quote, RunEvent
from tally.meter import keeping
from tally.meter.refusal import Refusal
from tally.tasks.kept import Words

_LATEST_MICROSECONDS = 2**52  # in the year 2112

Word = Annotated[str, Field(min_length=1, max_length=128)]
Moment = Annotated[int, Field(ge=1, le=_LATEST_MICROSECONDS)]
Amount = Annotated[float, Field(ge=0, le=1e12)]


class Posted(BaseModel):
    """Fields that nobody reads are passed over: the meter knows them better, or not yet."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True, allow_inf_nan=False)


class PostedUsage(Posted):
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


class PostedQuote(Posted):
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


class PostedEvent(Posted):
    """An event; its run is the address's, its namespace the caller's."""

    at_microseconds: Moment
    kind: Word
    step: str = Field(default="", max_length=128)
    facts: dict[str, Any] = Field(default_factory=dict)

    def of(self, run_id: str, namespace: str) -> RunEvent:
        """As the ledger keeps it."""
        return RunEvent(run_id=run_id, namespace=namespace, **self.model_dump())


class PostedResize(Posted):
    """What somebody wants of a run that trains.

    Attributes:
        workers: how many from now on.
        machine_type: another one of the catalogue, "" for the one that it has.
        wish: made by the client: the same wish posted twice is one.
    """

    workers: int = Field(ge=1, le=10**6)
    machine_type: str = Field(default="", max_length=128)
    wish: Word


def _words(document: dict[str, Any]) -> dict[str, Any]:
    """How a run's measures are read.

    Raises:
        Refusal: 422, they are not read so.
    """
    try:
        Words.of(document)
    except ValueError as error:
        raise Refusal(
            422, "events: expected words of a task, as tally.tasks.kept.Words has them, got others"
        ) from error
    keeping.require_words(document)
    return document


def measured(events: Iterable[PostedEvent]) -> dict[str, Any]:
    """What a run's steps measured, as fields of its record: `measured` events say it."""
    changes: dict[str, Any] = {}
    for event in events:
        for name, value in event.facts.items() if event.kind == MEASURED else ():
            if name == "examples_trained" and isinstance(value, int):
                changes[name] = min(max(0, value), _LATEST_MICROSECONDS)
            elif name == "words" and isinstance(value, dict):
                changes[name] = _words(value)
            elif name != "examples_trained" and isinstance(value, int | float):
                changes.setdefault("metrics", {})[name[:64]] = float(value)
    return changes
