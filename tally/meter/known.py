"""What the meter knows of the cluster's pods and nodes, and which of it the ledger has. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tally.costing.nodes import Node
from tally.costing.usage import Usage
from tally.kube import nodeclock, sampling
from tally.kube.finalizer import is_carried, is_let_go
from tally.kube.quantities import Amounts, microseconds, pod_holding
from tally.kube.sampling import PodSample
from tally.kube.template import Object
from tally.meter import slimming

SETTLED_MICROSECONDS = 600 * 10**6  # after its end nothing of a pod changes any more
_AWAY_MICROSECONDS = 90 * 10**6  # who has not seen a pod for longer was not looking


@dataclass
class KnownPod:
    """A pod.

    Attributes:
        object: as it looked last, without what no row needs.
        seen_microseconds: when the API server last had it, or when it let it go.
        gone: the API server shows it no more, or only because finalizers hold it.
        is_listed: the API server shows it still.
        is_missing: a list did not have it, and nothing has been told of it since.
        node_uid: of the node that it has, as long as that is known.
        skew_microseconds: how far its node's clock was ahead when it told of it.
        holding: what it holds of its node, and `since_microseconds`, when it was first told so; 0
            where it has since it was known.
        left_microseconds: when the API server let go of the node object that it had before.
        rows: as they were made last.
        samples: of what it uses.
        is_due: it has changed since its rows were made.
        made_microseconds: when they were made last.
        kept_microseconds: since when the ledger has rows that all have ended; None while not.
    """

    object: Object
    seen_microseconds: int
    gone: bool = False
    is_listed: bool = True
    is_missing: bool = False
    node_uid: str = ""
    skew_microseconds: int = 0
    holding: Amounts = field(default_factory=dict)
    since_microseconds: int = 0
    left_microseconds: int = 0
    rows: tuple[Usage, ...] = ()
    samples: sampling.Samples | None = None
    is_due: bool = True
    made_microseconds: int = 0
    kept_microseconds: int | None = None

    @property
    def uid(self) -> str:
        """The pod's."""
        return str(self.object["metadata"]["uid"])

    @property
    def has_ended(self) -> bool:
        """Whether its rows all have ends."""
        return bool(self.rows) and all(row.end_microseconds is not None for row in self.rows)

    @property
    def waits_for_us(self) -> bool:
        """Whether the meter's finalizer can be taken off it: the ledger has how it ended."""
        return self.kept_microseconds is not None and self.is_listed and is_carried(self.object)


@dataclass
class KnownNode:
    """A node.

    Attributes:
        object: as it looked last.
        seen_microseconds: when the API server last had it.
        gone: the API server shows it no more.
        is_missing: as of a pod.
        heard_microseconds: when it last gave a sign of life; None where it has no Lease.
        renewed_microseconds, told_microseconds: its Lease's last renewal, by its own clock, and
            when that was told of, by the API server's.
        life: the newest interval of its life.
        is_due, made_microseconds: as of a pod.
    """

    object: Object
    seen_microseconds: int
    gone: bool = False
    is_missing: bool = False
    heard_microseconds: int | None = None
    renewed_microseconds: int = 0
    told_microseconds: int = 0
    life: Node | None = None
    is_due: bool = True
    made_microseconds: int = 0

    @property
    def name(self) -> str:
        """The node's."""
        return str(self.object["metadata"]["name"])


@dataclass
class Known:
    """All pods and nodes by uid; for one thread."""

    pods: dict[str, KnownPod] = field(default_factory=dict)
    nodes: dict[str, KnownNode] = field(default_factory=dict)
    _rows: dict[str, tuple[Usage, ...]] = field(default_factory=dict)  # recalled, of who is to come
    _lives: dict[str, Node] = field(default_factory=dict)
    _named: dict[tuple[str, str], str] = field(default_factory=dict)  # pods by namespace, name
    _nodes_named: dict[str, str] = field(default_factory=dict)

    def recall(self, rows: Mapping[str, tuple[Usage, ...]], lives: Mapping[str, Node]) -> None:
        """What was written before of pods and nodes that are to be seen, by uid."""
        self._rows, self._lives = dict(rows), dict(lives)

    def see_pod(self, pod: Object, at_microseconds: int, *, gone: bool) -> None:
        """A pod as the API server shows it; where gone, as it looked last."""
        uid, meta = str(pod["metadata"]["uid"]), pod["metadata"]
        known = self.pods.get(uid)
        if known is None:
            rows = self._rows.pop(uid, ())
            heard = max((row.stop_microseconds for row in rows), default=at_microseconds)
            known = self.pods[uid] = KnownPod({}, min(heard, at_microseconds), rows=rows)
        if known.kept_microseconds is None or not _is_settled(known, at_microseconds):
            found = nodeclock.skew_microseconds(pod, at_microseconds)
            known.skew_microseconds = found or known.skew_microseconds
            known.object = slimming.pod(nodeclock.by_the_servers(pod, known.skew_microseconds))
            known.is_due = True
            self._holds(known, at_microseconds)
        self._named[meta["namespace"], meta["name"]] = uid
        known.is_listed, known.is_missing = not gone, False
        if known.gone:
            return  # when it went is known
        if gone or is_let_go(pod):
            known.gone = True
            at_microseconds = _went(known, at_microseconds)
        known.seen_microseconds = at_microseconds

    def _holds(self, known: KnownPod, at_microseconds: int) -> None:
        """What a pod holds now, which may be other than before."""
        holding = pod_holding(known.object)
        if known.rows and holding != known.holding:
            known.since_microseconds = at_microseconds
        known.holding = holding

    def see_node(self, node: Object, at_microseconds: int, *, gone: bool) -> None:
        """A node as the API server shows it; where gone, as it looked last."""
        uid = str(node["metadata"]["uid"])
        known = self.nodes.setdefault(uid, KnownNode(node, at_microseconds))
        known.life = known.life or self._lives.pop(uid, None)
        known.object = slimming.node(node)
        known.seen_microseconds, known.gone, known.is_due = at_microseconds, gone, True
        known.is_missing = False
        if not gone:
            self._nodes_named[known.name] = uid

    def listed(self, kind: str, uids: Iterable[str], asked_microseconds: int) -> bool:
        """What a list says. Who is missing in two, and was not told of between them, has gone, at
        the last time that it was seen: of most, the end is told a moment after the first.

        Args:
            kind: "pods" or "nodes".
            uids: all that there are.
            asked_microseconds: when the list was asked for.

        Returns:
            Whether somebody is missing for the first time.
        """
        there, missing = set(uids), False
        known: Mapping[str, KnownPod | KnownNode] = self.pods if kind == "pods" else self.nodes
        for uid, one in known.items():
            was_missing, one.is_missing = one.is_missing, uid not in there
            if not one.is_missing:
                if not one.gone:
                    one.seen_microseconds = max(one.seen_microseconds, asked_microseconds)
            elif one.seen_microseconds >= asked_microseconds:
                one.is_missing = False  # it came after the list
            elif was_missing:
                if isinstance(one, KnownPod):
                    one.is_listed = False
                if not one.gone:
                    one.gone = one.is_due = True
            else:
                missing = missing or not one.gone
        return missing

    def heard(self, node: str, renewed_microseconds: int, at_microseconds: int) -> None:
        """A node's Lease, as it was told of: it was renewed between the last time and this one,
        whatever the node's own clock says."""
        known = self.nodes.get(self._nodes_named.get(node, ""))
        if known is None or known.renewed_microseconds == renewed_microseconds:
            return
        lived = min(max(renewed_microseconds, known.told_microseconds), at_microseconds)
        known.renewed_microseconds, known.told_microseconds = renewed_microseconds, at_microseconds
        known.heard_microseconds = max(lived, known.heard_microseconds or 0)

    def sampled(self, sample: PodSample) -> None:
        """A pod's use was looked at."""
        known = self.pods.get(self._named.get((sample.namespace, sample.name), ""))
        if known is None or known.has_ended:
            return
        created = microseconds(known.object["metadata"]["creationTimestamp"]) or 0
        at_microseconds = sample.at_microseconds - known.skew_microseconds
        if at_microseconds >= created:  # else it is of an earlier pod of this name
            known.samples = sampling.seen(
                known.samples,
                at_microseconds,
                sample.cpu_core_seconds,
                sample.working_set_bytes,
                sample.rate_cores,
            )

    def nodes_with_young(self, since_microseconds: int) -> set[str]:
        """Names of the nodes on which a pod lasts that was made after this."""
        found = set()
        for pod in self.pods.values():
            made = microseconds(pod.object["metadata"].get("creationTimestamp")) or 0
            if made > since_microseconds and not pod.has_ended and (node := self.node_of(pod)):
                found.add(node.name)
        return found

    def node_of(self, pod: KnownPod) -> KnownNode | None:
        """The node that a pod has or had; None where it is not known.

        A pod knows its node by name. Where its node's object is gone, and another has its name and
        is of the same machine, the pod goes on there.
        """
        had = self.nodes.get(pod.node_uid)
        if had is None or (had.gone and not pod.gone):
            named = self.nodes.get(
                self._nodes_named.get(pod.object["spec"].get("nodeName", ""), "")
            )
            if named is not None and (had is None or _is_same_machine(had, named)):
                pod.node_uid = str(named.object["metadata"]["uid"])
                pod.left_microseconds = had.seen_microseconds if had is not None else 0
                return named
        return had

    def forget(self, now_microseconds: int) -> None:
        """Let go of what is over and in the ledger."""
        for uid, pod in list(self.pods.items()):
            if pod.kept_microseconds is None:
                continue
            if not pod.is_listed:
                meta = pod.object["metadata"]
                if self._named.get((meta["namespace"], meta["name"])) == uid:
                    del self._named[meta["namespace"], meta["name"]]
                del self.pods[uid]
            elif pod.object["spec"] and _is_settled(pod, now_microseconds):
                pod.object, pod.rows, pod.samples = slimming.stub(pod.object), pod.rows[-1:], None
        used = {pod.node_uid for pod in self.pods.values()}
        for uid, node in list(self.nodes.items()):
            if node.gone and not node.is_due and uid not in used:
                if self._nodes_named.get(node.name) == uid:
                    del self._nodes_named[node.name]
                del self.nodes[uid]


def _is_same_machine(one: KnownNode, other: KnownNode) -> bool:
    """Whether two node objects of one name are of one machine; where neither says, they are."""
    uuids = [
        ((node.object.get("status") or {}).get("nodeInfo") or {}).get("systemUUID")
        for node in (one, other)
    ]
    return uuids[0] == uuids[1]


def _went(pod: KnownPod, now_microseconds: int) -> int:
    """When a pod went that is gone now: now, unless nobody has looked for long."""
    if now_microseconds - pod.seen_microseconds < _AWAY_MICROSECONDS:
        return now_microseconds
    asked = microseconds(pod.object["metadata"].get("deletionTimestamp")) or 0
    return min(now_microseconds, max(pod.seen_microseconds, asked))


def _is_settled(pod: KnownPod, now_microseconds: int) -> bool:
    kept = pod.kept_microseconds
    return kept is not None and now_microseconds - kept > SETTLED_MICROSECONDS
