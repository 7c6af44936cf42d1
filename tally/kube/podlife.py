"""When a pod waited, started, worked and ended, from what Kubernetes says of it. Pure.

Kubernetes' times are whole seconds. What its object says comes first; where it does not say an end,
conditions do, and after them what is known already or the moment at which it is looked at.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tally.costing.nodes import Node
from tally.costing.usage import Phase, Usage
from tally.kube.podnames import is_driver
from tally.kube.quantities import microseconds
from tally.kube.template import Object

_MAIN = ("main", "worker")
_ENDED = ("Succeeded", "Failed")


@dataclass(frozen=True, slots=True)
class PodLife:
    """Microseconds UTC, none before the one above it; None where it has not come to that.

    Attributes:
        created: it waits for a node from then on.
        scheduled: it holds its node from then on.
        started: its main container works from then on.
        ended: it holds nothing any more.
    """

    created: int
    scheduled: int | None
    started: int | None
    ended: int | None


def pod_life(
    pod: Object,
    node: Node | None,
    known: Mapping[Phase, Usage],
    *,
    now_microseconds: int,
    gone: bool,
) -> PodLife:
    """A pod's life so far; see `podusage.pod_usage` for what it is given.

    Args:
        known: by phase, what was said of this pod before: a start that was told stays, and so does
            an end that the pod itself does not tell.
    """
    starts = {phase: row.start_microseconds for phase, row in known.items()}
    created = starts.get("queue") or microseconds(pod["metadata"]["creationTimestamp"]) or 0
    scheduled = starts.get("startup") or _scheduled(pod)
    started = starts.get("work")
    if scheduled is not None:
        scheduled = max(created, scheduled)
        if started is None and not is_driver(pod):
            started = _started(pod)
        if started is not None:
            started = max(scheduled, started)
    reached = PodLife(created, scheduled, started, None)
    ended = _ended(pod, reached, node, known, now_microseconds, gone)
    if ended is not None:
        ended = max(ended, created, scheduled or 0, started or 0)
    return PodLife(created, scheduled, started, ended)


def _scheduled(pod: Object) -> int | None:
    """When it got its node. A pod that the kubelet turned away has only the time of that."""
    told = _condition(pod, "PodScheduled", "True")
    if told is None and pod["spec"].get("nodeName"):
        return microseconds(_status(pod).get("startTime"))
    return told


def _started(pod: Object) -> int | None:
    """The first start of the main container, as far as the pod still tells it."""
    names = {container["name"] for container in pod["spec"]["containers"]}
    annotations = pod["metadata"].get("annotations") or {}
    for name in (annotations.get("kubectl.kubernetes.io/default-container"), *_MAIN):
        if name in names:
            names = {name}
            break
    own = _status(pod).get("containerStatuses") or []
    return min(_starts(status for status in own if status["name"] in names), default=None)


def _starts(statuses: Iterable[Object]) -> list[int]:
    states = [
        (status.get(when) or {}).get(what) or {}
        for status in statuses
        for when, what in (
            ("state", "running"),
            ("state", "terminated"),
            ("lastState", "terminated"),
        )
    ]
    return [start for state in states if (start := microseconds(state.get("startedAt")))]


def _ended(
    pod: Object,
    reached: PodLife,
    node: Node | None,
    known: Mapping[Phase, Usage],
    now: int,
    gone: bool,
) -> int | None:
    """When it let go of its node, or stopped waiting for one; None while it does not."""
    statuses = _statuses(pod)
    finishes = [finish for status in statuses if (finish := _finish(status))]
    over = _is_over(pod, gone)
    if over and finishes and all(_finish(status) or _never_began(status) for status in statuses):
        return max(finishes)
    guess = None
    if over:
        guess = _told_end(pod, reached, finishes, known)
    if guess is None and (over or gone):
        last = known.get("work") or known.get("startup") or known.get("queue")
        before = last.end_microseconds if last else None
        guess = now if before is None else before
    if reached.scheduled is not None and node is not None and node.end_microseconds is not None:
        guess = node.end_microseconds if guess is None else min(guess, node.end_microseconds)
    return None if guess is None else max([guess, *finishes])


def _is_over(pod: Object, gone: bool) -> bool:
    """Whether none of its containers runs any more nor will again."""
    status, spec = _status(pod), pod["spec"]
    if status.get("phase") in _ENDED:
        return True
    own = status.get("containerStatuses") or []
    if len(own) < len(spec["containers"]) or not all(map(_finish, _statuses(pod))):
        return False
    if gone or pod["metadata"].get("deletionTimestamp"):
        return True
    codes = {one["name"]: one["state"]["terminated"].get("exitCode") or 0 for one in own}
    policy = spec.get("restartPolicy", "Always")
    return not any(_restarts(one, codes.get(one["name"], 0), policy) for one in spec["containers"])


def _restarts(container: Object, exit_code: int, of_pod: str) -> bool:
    """Whether the kubelet starts a container again that has ended so: by the first of its own rules
    that fits, else by its own policy, else by the pod's.

    Source: KEP-5307, container restart rules.
    """
    for rule in container.get("restartPolicyRules") or []:
        codes = rule.get("exitCodes") or {}
        if (exit_code in (codes.get("values") or [])) == (codes.get("operator") == "In"):
            return True  # every action there is starts it, or all of them, again
    policy = container.get("restartPolicy") or of_pod
    return policy == "Always" or (policy == "OnFailure" and exit_code != 0)


def _told_end(
    pod: Object, reached: PodLife, finishes: Iterable[int], known: Mapping[Phase, Usage]
) -> int | None:
    """When a pod ended whose containers do not all say it: evicted, or lost with its node.

    A condition counts only where it must have changed at the end: a pod whose containers never
    started was never ready, since its beginning.
    """
    told = [_condition(pod, "DisruptionTarget", "True")]
    if _status(pod).get("podIP"):
        told.append(_condition(pod, "PodReadyToStartContainers", "False"))
    if reached.started is not None:
        told.append(_condition(pod, "Ready", "False"))
    after = max([reached.created, reached.scheduled or 0, reached.started or 0, *finishes])
    later = [moment for moment in told if moment is not None and moment > after]
    if not later and not _statuses(pod) and "work" not in known:
        return microseconds(_status(pod).get("startTime"))  # the kubelet would not have it
    return max(later, default=None)


def _status(pod: Object) -> Object:
    status: Object = pod.get("status") or {}
    return status


def _statuses(pod: Object) -> list[Object]:
    """Of all containers that hold the node, init containers among them."""
    status = _status(pod)
    return [
        *(status.get("initContainerStatuses") or []),
        *(status.get("containerStatuses") or []),
    ]


def _finish(status: Object) -> int | None:
    ended = (status.get("state") or {}).get("terminated") or {}
    return microseconds(ended.get("finishedAt"))


def _never_began(status: Object) -> bool:
    """Whether an init container before it failed."""
    waiting = (status.get("state") or {}).get("waiting") or {}
    return waiting.get("reason") == "PodInitializing"


def _condition(pod: Object, kind: str, value: str) -> int | None:
    """When a condition got this value; None where it has another."""
    for condition in _status(pod).get("conditions") or []:
        if condition["type"] == kind and condition["status"] == value:
            return microseconds(condition.get("lastTransitionTime"))
    return None
