"""One turn of the meter, every second: what was told, made into rows, written, let go."""

import asyncio
import contextlib
import queue
from collections.abc import Mapping
from dataclasses import dataclass, field

from tally.costing.ledger import Ledger, open_ledger
from tally.errors import SpecError, TallyError
from tally.kube import finalizer
from tally.kube.manifests import FINALIZER
from tally.kube.template import Object
from tally.machines.catalogue import load
from tally.machines.priced import Catalogue, PricedMachine
from tally.meter.apiserver import Answer, ApiServer, Unanswered
from tally.meter.clusterclock import ClusterClock
from tally.meter.health import Health
from tally.meter.known import Known, KnownPod
from tally.meter.making import make
from tally.meter.oom import oom_events
from tally.meter.recalling import recall
from tally.meter.runs import Runs
from tally.meter.writing import Unwritten, write

_PATCHES_AT_ONCE = 8
_RUNS_MICROSECONDS = 60 * 10**6
_CHANGED_MEANWHILE = (404, 409, 422)  # the pod is gone, or is not as it was: it is told of soon


@dataclass
class Meter:
    """What the loops of the service share; all but `told` is for the main thread's loop.

    Attributes:
        api, clock, health: of this process.
        told: pods and nodes as they were seen: kind, object, gone, when.
        known, runs, unwritten: of the cluster, and of it what the ledger has not.
        ledger: None until it could be opened.
        heard_microseconds: when the API server last answered, or told of a pod or a node.
        untold: uids that a list had and the watch had not told of, by kind.
    """

    api: ApiServer
    clock: ClusterClock
    health: Health
    unwritten: Unwritten
    ledger_url: str | None = None
    told: "queue.SimpleQueue[tuple[str, Object, bool, int]]" = field(
        default_factory=queue.SimpleQueue
    )
    known: Known = field(default_factory=Known)
    runs: Runs = field(default_factory=Runs)
    ledger: Ledger | None = None
    heard_microseconds: int = 0
    untold: dict[str, set[str]] = field(default_factory=dict)
    _catalogue: Catalogue = field(default_factory=lambda: Catalogue({}))
    _unpriced: set[tuple[str, bool]] = field(default_factory=set)
    _is_new_catalogue: bool = False
    _runs_at: int = 0

    def tell(self, kind: str, thing: Object, gone: bool) -> None:
        """A pod or a node as it looks now; from any thread."""
        self.told.put((kind, thing, gone, self.clock.now_microseconds()))

    async def open(self, pods: set[str], nodes: set[str]) -> None:
        """Open the ledger, and take up what was written before.

        Args:
            pods, nodes: uids of what there is.

        Raises:
            SpecError, RunError: as the ledger.
        """
        if (ledger := self.ledger) is None:
            ledger = self.ledger = await asyncio.to_thread(open_ledger, self.ledger_url)
        recalled = await asyncio.to_thread(recall, ledger, pods, nodes)
        self.known.recall(recalled.rows, recalled.lives)
        self._unpriced = set(recalled.unpriced)
        there = {rows[0].run_key for rows in recalled.rows.values() if rows}
        self.runs.recall(recalled.runs, self.clock.now_microseconds(), there)

    def hear(self, answer: Answer) -> None:
        """The API server has answered: what time it is, and that it is there."""
        if answer.date_seconds is not None:
            self.clock.learn(answer.date_seconds, answer.sent_seconds, answer.received_seconds)
        heard = self.clock.at_microseconds(answer.received_seconds)
        self.heard_microseconds = max(self.heard_microseconds, heard)

    async def turn(self) -> None:
        """Take in what was told, make rows, write them, take finalizers off."""
        with contextlib.suppress(queue.Empty):
            while True:
                kind, thing, gone, at = self.told.get_nowait()
                see = self.known.see_pod if kind == "pod" else self.known.see_node
                see(thing, at, gone=gone)
                self.heard_microseconds = max(self.heard_microseconds, at)
        now = self.clock.now_microseconds()
        made = make(self.known, self.price, now, self.heard_microseconds)
        self.unwritten.add(made.usage, made.nodes)
        self.unwritten.add_events(oom_events(made.usage, self.known.pods))
        if now - self._runs_at >= _RUNS_MICROSECONDS or made.usage or self.runs.is_closing:
            self._runs_at = now
            self.unwritten.add_runs(*self.runs.look(self.known, now))
        self._remember_unpriced(made.unpriced)
        if await self._write(now):
            await self._let_go()
            self.known.forget(now)
        self._tell_unpriced(made.unpriced)

    def price(self, labels: Mapping[str, str]) -> PricedMachine:
        """Of a node with these labels.

        Raises:
            SpecError: the catalogue has none.
        """
        return self._catalogue.of_node(labels)

    async def read_catalogue(self) -> None:
        """Read the prices again where their files have changed."""
        try:
            found = await asyncio.to_thread(load)
        except (SpecError, OSError) as error:
            self.health.problem("catalogue", f"{error} (the prices before go on)")
            return
        self.health.well("catalogue")
        if found is not self._catalogue:
            self._catalogue, self._is_new_catalogue = found, True
            self.runs.value_of_hour_usd = found.machine("local").value_of_hour_usd
            for node in self.known.nodes.values():
                node.is_due = node.is_due or not node.gone
            for pod in self.known.pods.values():
                if pod.kept_microseconds is None and any(row.is_unpriced for row in pod.rows):
                    pod.is_due = True

    async def _write(self, now: int) -> bool:
        """Whether the ledger has everything now."""
        if self.ledger is None:
            return False
        batch = self.unwritten.take()
        if not batch and len(self.unwritten):
            return False  # it is not time to try again
        try:
            if batch:
                await asyncio.to_thread(write, self.ledger, batch)
            if await self._reprice(self.ledger) or batch:
                self.unwritten.kept(now)
        except TallyError as error:
            self.unwritten.refused(batch, error)
            return False
        for pod in self.known.pods.values():
            if pod.kept_microseconds is None and pod.has_ended and not pod.is_due:
                pod.kept_microseconds = now
        return True

    async def _reprice(self, ledger: Ledger) -> bool:
        """Give what was written without a price the one that there is now; whether any was."""
        found = []
        for machine_type, spot in sorted(self._unpriced) if self._is_new_catalogue else ():
            with contextlib.suppress(SpecError):
                found.append(self._catalogue.priced(machine_type, spot=spot))
        for priced in found:
            await asyncio.to_thread(
                ledger.reprice,
                priced.machine_type,
                priced.spot,
                price_usd_per_hour=priced.price_usd_per_hour,
                list_price_usd_per_hour=priced.list_price_usd_per_hour,
                software_usd_per_hour=priced.software_usd_per_hour,
                provider=priced.provider,
                currency=priced.currency,
                catalogue_version=priced.catalogue_version,
            )
            self._unpriced.discard((priced.machine_type, priced.spot))
        self._is_new_catalogue = False
        return bool(found)

    def _remember_unpriced(self, unpriced: Mapping[str, str]) -> None:
        lives = (node.life for node in self.known.nodes.values() if node.name in unpriced)
        self._unpriced.update((life.machine_type, life.spot) for life in lives if life)

    def _tell_unpriced(self, unpriced: Mapping[str, str]) -> None:
        if not unpriced:
            self.health.well("prices")
            return
        names = ", ".join(sorted(unpriced)[:3]) + (" and others" if len(unpriced) > 3 else "")
        why = "; ".join(sorted(set(unpriced.values()))[:3])
        self.health.problem("prices", f"of {names}: {why}")

    async def _let_go(self) -> None:
        """Take the finalizer off the pods whose end the ledger has."""
        waiting = [pod for pod in self.known.pods.values() if pod.waits_for_us]
        gate = asyncio.Semaphore(_PATCHES_AT_ONCE)
        said = await asyncio.gather(*(self._patch(gate, pod) for pod in waiting))
        if wrong := next(filter(None, said), ""):
            self.health.problem("finalizer", wrong)
        else:
            self.health.well("finalizer")

    async def _patch(self, gate: asyncio.Semaphore, pod: KnownPod) -> str:
        """What went wrong, "" for nothing."""
        meta = pod.object["metadata"]
        path = f"api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}"
        async with gate:
            try:
                await self.api.send(
                    "PATCH",
                    path,
                    finalizer.removal(pod.object),
                    content="application/json-patch+json",
                    seconds=5.0,
                )
            except Unanswered as error:
                if error.status not in _CHANGED_MEANWHILE:
                    return str(error)
        others = [name for name in meta["finalizers"] if name != FINALIZER]
        pod.object = {**pod.object, "metadata": {**meta, "finalizers": others}}
        return ""
