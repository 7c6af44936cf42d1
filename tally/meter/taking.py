"""What is posted to a run: looked at whole, within its limits, then written or not."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tally.costing import cluster_tables
from tally.costing.ledger import Ledger
from tally.costing.quotes import RESIZE_ASKED, Kept
from tally.costing.runs import RunRecord
from tally.costing.usage import Usage
from tally.meter import bodies, keeping
from tally.meter.moments import cut, lives_of, require_moment
from tally.meter.posts import PostedEvent, PostedQuote, PostedUsage, measured
from tally.meter.refusal import Refusal

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class OwnRun:
    """A run of the caller's namespace, at the cluster's time of the post (UTC)."""

    id: str
    namespace: str
    now_microseconds: int


@dataclass(frozen=True, slots=True)
class Conducted:
    """What conductors said of their workers.

    Attributes:
        rows: for the ledger.
        unknown_pods: uids of pods of which the meter knows no placed row in this run: they may be
            told again when it does.
        outside_rows: how many lay wholly outside the lives of their pods.
    """

    rows: list[Usage]
    unknown_pods: list[str]
    outside_rows: int


def take_usage(ledger: Ledger, run: OwnRun, body: Json) -> Json:
    """What the run's conductor says of its workers' pods.

    Raises:
        Refusal: 400, a bad row; 413, too many of one pod. Nothing is kept then.
    """
    posted = bodies.posted_rows(body, "usage", PostedUsage)
    pods = ledger.usage_of_pods((row.pod_uid for row in posted), "pod")
    said = conducted(posted, pods, run)
    by_id = {row.usage_id: row.pod_uid for row in said.rows}
    known = ledger.usage_known(by_id)
    further = Counter(uid for usage_id, uid in by_id.items() if usage_id not in known)
    keeping.require_conducted(ledger.conducted_kept(further), further)
    ledger.write_usage(said.rows)
    return {
        "accepted": len(said.rows),
        "unknown_pods": said.unknown_pods,
        "outside_rows": said.outside_rows,
    }


def take_quote(ledger: Ledger, run: OwnRun, body: Json) -> Json:
    """The run's quote.

    Raises:
        Refusal: 400, a bad field; 413, too large; 422, of another time. Nothing is kept then.
    """
    quote = bodies.posted(body.get("quote"), "quote", PostedQuote)
    at = quote.made_at_microseconds
    began = _began(ledger, run, ledger.run(run.id, run.namespace))
    require_moment("quote.made_at_microseconds", at, began, run.now_microseconds)
    keeping.require_quote(quote.document)
    ledger.put_quote(quote.of(run.id, run.namespace))
    return {"accepted": 1}


def take_events(ledger: Ledger, run: OwnRun, body: Json) -> Json:
    """What happened in the run, and what its steps measured.

    Raises:
        Refusal: 400, a bad row; 413, too many; 422, of another time, of a kind that the meter alone
            writes, or too many names measured. Nothing is kept then.
    """
    posted = bodies.posted_rows(body, "events", PostedEvent)
    if any(event.kind == RESIZE_ASKED for event in posted):
        raise Refusal(
            422, f"events: expected kinds of a step's own, got {RESIZE_ASKED}; post to /resize"
        )
    record = ledger.run(run.id, run.namespace)
    began = _began(ledger, run, record)
    for index, event in enumerate(posted):
        name = f"events[{index}].at_microseconds"
        require_moment(name, event.at_microseconds, began, run.now_microseconds)
    changes = measured(posted)
    metrics = changes.pop("metrics", {})
    there = record.metrics if record else {}
    keeping.require_metrics(there, metrics)
    told = (one.of(run.id, run.namespace) for one in posted)
    events = {cluster_tables.event_id(event): event for event in told}
    known = ledger.events_known(events, run.namespace)
    if further := [event for key, event in events.items() if key not in known]:
        size = sum(keeping.size(event.facts) for event in further)
        kinds = {event.kind for event in further}
        there_already = ledger.events_kept(run.id, run.namespace)
        keeping.require_events(there_already, Kept(len(further), size), kinds)
    ledger.write_events(events.values())
    if record and (changes or metrics):
        ledger.update_run(run.id, run.namespace, **changes, metrics={**there, **metrics})
    return {"accepted": len(posted)}


def conducted(posted: Sequence[PostedUsage], pods: Iterable[Usage], run: OwnRun) -> Conducted:
    """What conductors say of their workers, as rows of the ledger. Pure.

    Whose a pod is, where it was and what it cost says its own row; the conductor says only which
    part of its time was what, and how much of that it waited (no longer than it lasted).

    Args:
        posted: checked.
        pods: rows of these pods as the meter wrote them.
        run: whose.
    """
    lives = lives_of(pods, run.id, run.namespace)
    told = [said for said in posted if said.pod_uid in lives]
    inside = [
        _row(own, lives[own.pod_uid].row)
        for said in told
        if (own := cut(said, lives[said.pod_uid], run.now_microseconds))
    ]
    unknown = sorted({said.pod_uid for said in posted} - set(lives))
    return Conducted(inside, unknown, len(told) - len(inside))


def _row(said: PostedUsage, pod: Usage) -> Usage:
    row = replace(
        pod,
        **said.model_dump(),
        source="conductor",
        confirmed=True,
        cpu_used_core_seconds=0.0,
        memory_used_byte_seconds=0.0,
        memory_peak_bytes=0,
    )
    lasted_seconds = (row.stop_microseconds - row.start_microseconds) / 1e6
    return replace(row, wait_seconds=min(row.wait_seconds, lasted_seconds))


def _began(ledger: Ledger, run: OwnRun, record: RunRecord | None) -> int:
    """When the run did, else its first pod."""
    if record:
        return record.created_at_microseconds
    own = run.namespace, run.id
    pods = (row for row in ledger.usage([run.id]) if row.source == "pod" and row.run_key == own)
    return min((row.start_microseconds for row in pods), default=run.now_microseconds)
