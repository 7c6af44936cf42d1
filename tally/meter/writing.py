"""What waits for the ledger, and writing it: nothing is dropped because the ledger says no."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from tally.costing.ledger import Ledger
from tally.costing.nodes import Node
from tally.costing.quotes import RunEvent
from tally.costing.runs import RunKey, RunRecord
from tally.costing.usage import Usage
from tally.errors import TallyError
from tally.meter.health import Health

_PAUSE_SECONDS = (1.0, 30.0)  # after a failure: the first and the longest


@dataclass(frozen=True)
class Batch:
    """What is written together: rows by usage_id, nodes' lives by node_life_id, runs that began and
    runs whose state changed by namespace and id, OOM kills by pod."""

    usage: dict[str, Usage] = field(default_factory=dict)
    nodes: dict[str, Node] = field(default_factory=dict)
    begun: dict[RunKey, RunRecord] = field(default_factory=dict)
    changed: dict[RunKey, RunRecord] = field(default_factory=dict)
    events: dict[str, RunEvent] = field(default_factory=dict)

    def __len__(self) -> int:
        runs = len(self.begun) + len(self.changed)
        return len(self.usage) + len(self.nodes) + runs + len(self.events)


@dataclass
class Unwritten:
    """What the ledger does not have yet, of each interval the newest; for one thread at a time.

    It grows by what begins while the ledger cannot be written, never by what only goes on.

    Attributes:
        errors: writes that failed since the meter began.
        last_write_microseconds: when the last one did not, UTC; None before the first.
    """

    health: Health
    monotonic: Callable[[], float] = time.monotonic
    errors: int = 0
    last_write_microseconds: int | None = None
    _batch: Batch = field(default_factory=Batch)
    _pause_seconds: float = _PAUSE_SECONDS[0]
    _not_before: float = 0.0

    def add(self, usage: Iterable[Usage] = (), nodes: Iterable[Node] = ()) -> None:
        """Rows and nodes' lives as they are now."""
        self._batch.usage.update((row.usage_id, row) for row in usage)
        self._batch.nodes.update((node.node_life_id, node) for node in nodes)

    def add_runs(self, begun: Iterable[RunRecord], changed: Iterable[RunRecord]) -> None:
        """Runs that began, and runs whose state changed."""
        self._batch.begun.update((record.key, record) for record in begun)
        self._batch.changed.update((record.key, record) for record in changed)

    def add_events(self, events: Iterable[RunEvent]) -> None:
        """Pods that were killed for their memory."""
        self._batch.events.update((str(event.facts["pod_uid"]), event) for event in events)

    def __len__(self) -> int:
        return len(self._batch)

    def take(self) -> Batch:
        """All of it, where the time has come to try; else nothing."""
        if self.monotonic() < self._not_before:
            return Batch()
        batch, self._batch = self._batch, Batch()
        return batch

    def kept(self, now_microseconds: int) -> None:
        """The ledger has what was taken."""
        self.last_write_microseconds = now_microseconds
        self._pause_seconds, self._not_before = _PAUSE_SECONDS[0], 0.0
        self.health.well("ledger")

    def refused(self, batch: Batch, error: TallyError) -> None:
        """The ledger does not take it: it waits again, behind what is newer."""
        newer, self._batch = self._batch, batch
        for name in ("usage", "nodes", "begun", "changed", "events"):
            getattr(batch, name).update(getattr(newer, name))
        self.errors += 1
        self._not_before = self.monotonic() + self._pause_seconds
        self._pause_seconds = min(2 * self._pause_seconds, _PAUSE_SECONDS[1])
        self.health.problem("ledger", f"{error} ({len(self)} rows wait for it)")


def write(ledger: Ledger, batch: Batch) -> None:
    """Write it; where that breaks off in the middle it can be written again.

    In order of their keys: two meters that wrote the same rows in different orders would wait for
    each other's locks in PostgreSQL.

    Raises:
        SpecError, RunError: as the ledger.
    """
    ledger.put_new_runs(batch.begun[key] for key in sorted(batch.begun))
    ledger.write_nodes(batch.nodes[key] for key in sorted(batch.nodes))
    ledger.write_usage(batch.usage[key] for key in sorted(batch.usage))
    ledger.write_events(batch.events[key] for key in sorted(batch.events))
    for key in sorted(batch.changed):
        record = batch.changed[key]
        ledger.update_run(
            record.id,
            record.namespace,
            state=record.state,
            created_at_microseconds=record.created_at_microseconds,
            ended_at_microseconds=record.ended_at_microseconds,
            attempt=record.attempt,
        )
