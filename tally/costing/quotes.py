"""A run's quote, budget and events, as the ledger keeps them beside its usage. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

OUT_OF_MEMORY = "oom"
"""The kind of an event that says which pod was killed for its memory, and at which limit."""

GANG = "gang"
"""The kind of an event that says with how many workers a training begins, and how many it may
have: `workers`, `max_workers`."""

RESIZE_ASKED = "resize_asked"
"""The kind of an event that says who wants how many workers of which machine type: `workers`,
`machine_type`, `by`, `wish`. The meter alone writes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """What a run was predicted to cost before it began; the newest counts.

    Attributes:
        run_id: whose, within its namespace.
        made_at_microseconds: UTC.
        low_usd, expected_usd, high_usd: total, with its interval.
        budget_usd: what the user allowed for the run over all its attempts; None for no limit.
        document: the whole quote, as the plan step wrote it.
        namespace: of the run, "" on a machine of its own.
    """

    run_id: str
    made_at_microseconds: int
    low_usd: float
    expected_usd: float
    high_usd: float
    budget_usd: float | None = None
    document: Mapping[str, Any] = field(default_factory=dict)
    namespace: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEvent:
    """Something that happened in a run: a decision with its reasons, a resize, an OOM kill, ….

    Attributes:
        run_id: whose, within its namespace.
        at_microseconds: UTC.
        kind: "resize", "generation", "checkpoint", "oom", "eviction", "failed", ….
        step: where.
        facts: the rest, as JSON's types.
        namespace: of the run, "" on a machine of its own.
    """

    run_id: str
    at_microseconds: int
    kind: str
    step: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    namespace: str = ""


@dataclass(frozen=True, slots=True)
class Kept:
    """So many rows, and so many bytes in them."""

    rows: int
    bytes: int
