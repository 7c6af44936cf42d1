"""Random histories of resizes, prices and node objects: a bill is the sum of what held then."""

import copy
import datetime
import itertools
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.meter.told import created, node, price, recorded
from tally.costing.merge import merge, newness
from tally.costing.node_shares import share_nodes
from tally.costing.nodes import Node
from tally.costing.usage import Usage
from tally.machines.shares import OPENCOST, price_shares
from tally.meter.known import Known
from tally.meter.making import make

pytestmark = [pytest.mark.exact, pytest.mark.hypothesis]

SECOND = 10**6
RUNNING = recorded("running", creationTimestamp="2026-11-24T10:00:00Z")
SHARES = price_shares(4, 16 << 30, 0, OPENCOST)


@dataclass(frozen=True)
class Event:
    """After so many seconds: a resize to so many cores, another price, or a node object that goes
    and is there again."""

    seconds: int
    what: str
    value: int


EVENTS = st.lists(
    st.builds(
        Event,
        st.integers(1, 90),
        st.sampled_from(["resize", "resize", "refused", "price", "node"]),
        st.integers(1, 3),
    ),
    max_size=8,
)


class History:
    """A meter that looks every second, and what truly was: the pod's cores, by since when."""

    def __init__(self) -> None:
        self.known, self.rows, self.lives = Known(), dict[str, Usage](), dict[str, Node]()
        self.usd, self.number, self.pod = 3.6, 0, copy.deepcopy(RUNNING)
        self.began = created(self.pod)
        self.now = self.began + 5 * SECOND
        self.cores: list[tuple[int, float]] = []
        self.gaps: list[tuple[int, int]] = []
        self.known.see_node(self._node("2026-11-20T00:00:00Z"), self.began, gone=False)
        self.resize(1, 1)
        self.cores = [(self.began, 1.0)]

    def _node(self, created: str) -> Any:
        return node(uid=f"node-{self.number}", created=created)

    def resize(self, asked: int, allocated: int) -> None:
        """The pod is asked to hold so much, and its kubelet has allocated that."""
        self.pod = copy.deepcopy(self.pod)
        for container in self.pod["spec"]["containers"]:
            container["resources"] = {"requests": {"cpu": str(asked), "memory": "0"}}
        for status in self.pod["status"]["containerStatuses"]:
            status["allocatedResources"] = {"cpu": str(allocated), "memory": "0"}
            status["resources"] = {"requests": {"cpu": str(allocated), "memory": "0"}}
        self.known.see_pod(self.pod, self.now, gone=False)

    def happens(self, event: Event) -> None:
        for _ in range(event.seconds):
            self.look()
        if event.what == "resize":
            self.resize(event.value, event.value)
            self.cores.append((self.now, float(event.value)))
        elif event.what == "refused":
            self.resize(64, round(self.cores[-1][1]))
        elif event.what == "price":
            self.usd = 3.6 * event.value
        else:
            self._registered_again(event.value)

    def _registered_again(self, seconds: int) -> None:
        self.known.see_node(self._node("2026-11-20T00:00:00Z"), self.now, gone=True)
        gone = self.now
        for _ in range(seconds):
            self.look()
        self.number += 1
        self.known.see_node(self._node(_text(self.now)), self.now, gone=False)
        self.gaps.append((gone, self.now))

    def look(self) -> None:
        self.now += SECOND
        for one in self.known.nodes.values():
            if not one.gone:
                self.known.heard(one.name, self.now, self.now)
        made = make(self.known, self._price, self.now, self.now)
        for row in made.usage:
            had = self.rows.get(row.usage_id)
            if had is None or newness(row) > newness(had):
                self.rows[row.usage_id] = row
        self.lives.update({life.node_life_id: life for life in made.nodes})

    def _price(self, labels: Any) -> Any:
        found = price(labels)
        return replace(found, price_usd_per_hour=self.usd, catalogue_version=str(self.usd))

    def truth_usd(self, end: int) -> float:
        """Second by second: the node's price then × the part of its cores that the pod held."""
        total, lives = 0.0, list(self.lives.values())
        for at in range(self.began, end, SECOND):
            here = [n for n in lives if n.start_microseconds <= at < n.stop_microseconds]
            if any(gone <= at < back for gone, back in self.gaps):
                continue
            (cores,) = [cores for since, cores in self.cores if since <= at][-1:]
            usd_per_hour = max((n.price_usd_per_hour for n in here), default=0.0)
            total += usd_per_hour / 3600 * SHARES.cpu * cores / 4
        return total


def _text(moment: int) -> str:
    return datetime.datetime.fromtimestamp(moment / 1e6, datetime.UTC).isoformat()


@settings(max_examples=60, deadline=None)
@given(EVENTS)
def test_a_bill_is_the_sum_of_what_held_when_it_did(events: list[Event]) -> None:
    history = History()
    closed: dict[str, Usage] = {}
    for event in [*events, Event(20, "refused", 1)]:
        history.happens(event)
        for key, row in closed.items():
            assert history.rows[key] == row, "a closed slice has changed"
        closed = {key: row for key, row in history.rows.items() if row.end_microseconds is not None}
        # that on a node which is gone grows to when it went, once the pod is seen to go on
        last = max(history.rows.values(), key=lambda row: row.start_microseconds)
        closed.pop(last.usage_id, None)
    rows = merge(list(history.rows.values()))
    shared = share_nodes(rows, list(history.lives.values()))
    held = [row for row in rows if row.phase != "queue"]
    assert all(
        one.stop_microseconds <= other.start_microseconds for one, other in itertools.pairwise(held)
    )
    end = held[-1].stop_microseconds
    billed = float(sum(charge.hardware_usd for charge in shared.charges))
    assert billed == pytest.approx(history.truth_usd(end), rel=1e-3, abs=1e-6)
    for account in shared.accounts:
        parts = account.workload_microseconds + account.overhead_microseconds
        assert parts + account.idle_microseconds == account.life_microseconds
    nodes = sum(a.workload_usd for a in shared.accounts)
    assert float(nodes) == pytest.approx(billed, abs=1e-9)  # each at the price of its own time
