"""Pure: what became of a worker, from its pod as the API server shows it."""

import datetime
import signal
from collections.abc import Mapping, Sequence
from typing import Any

from tally.gang.gang import Cause, WorkerChange
from tally.kube.quantities import quantity
from tally.kube.template import Object
from tally.oneline import one_line

_BY_CONDITION: Mapping[str, Cause] = {
    "EvictionByEvictionAPI": "eviction",
    "PreemptionByScheduler": "eviction",
    "TerminationByKubelet": "eviction",
    "DeletionByTaintManager": "node_lost",
    "DeletionByPodGC": "node_lost",
}
_BY_POD_REASON: Mapping[str, Cause] = {
    "Evicted": "eviction",
    "Preempting": "eviction",
    "NodeLost": "node_lost",
    "NodeShutdown": "node_lost",
    "Terminated": "node_lost",  # a node's graceful shutdown
    "Shutdown": "node_lost",
    # the kubelet would not have it: what the scheduler knew of the node was not so
    "OutOfcpu": "unschedulable",
    "OutOfmemory": "unschedulable",
    "OutOfpods": "unschedulable",
    "NodeAffinity": "unschedulable",
    "UnexpectedAdmissionError": "unschedulable",
}
_BAD_IMAGE = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull",
              "ImageInspectError", "RegistryUnavailable")  # fmt: skip
_BAD_CONTAINER = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError",
                  "StartError")  # fmt: skip
_AT_ONCE = ("InvalidImageName", "ErrImageNeverPull")
_WORDS = 500


def worker_name(pod: Object) -> str:
    """Its TALLY_WORKER: the index, after a change of machine type with the move before it."""
    for container in pod["spec"].get("containers", []):
        for entry in container.get("env", []):
            if entry["name"] == "TALLY_WORKER" and "value" in entry:
                return str(entry["value"]).replace("$(TALLY_INDEX)", _index(pod))
    return _index(pod)


def _index(pod: Object) -> str:
    annotations = pod["metadata"].get("annotations") or {}
    return str(annotations.get("batch.kubernetes.io/job-completion-index", "?"))


def change(pod: Object, at_microseconds: int, *, gone: bool = False) -> WorkerChange:
    """What there is to say of a worker whose pod looks so.

    Args:
        pod: as the API server shows it.
        at_microseconds: when it looked so, on the run's clock.
        gone: the API server shows it no more; this is how it looked last.
    """
    status = pod.get("status") or {}
    container = _container(status)
    ended = container.get("terminated")
    known = {
        "worker": worker_name(pod),
        "uid": pod["metadata"]["uid"],
        "at_microseconds": at_microseconds,
    }
    if gone or ended or status.get("phase") in ("Succeeded", "Failed"):
        cause, reason = _end(pod, ended or {})
        return WorkerChange(
            **known,
            state="ended",
            cause=cause,
            reason=one_line(reason, _WORDS),
            exit_code=(ended or {}).get("exitCode"),
            memory_limit_bytes=int(quantity(limit)) if (limit := _memory_limit(pod)) else 0,
        )
    if "running" in container:
        return WorkerChange(**known, state="started")
    cause, reason = _wait(status, container.get("waiting") or {})
    return WorkerChange(
        **known,
        state="pending",
        cause=cause,
        reason=one_line(reason, _WORDS),
        fatal=cause == "image",
    )


def is_certain(waiting: WorkerChange) -> bool:
    """Whether it will surely not come right: no need to wait before telling it."""
    return waiting.fatal and waiting.reason.startswith(_AT_ONCE)


def from_events(waiting: WorkerChange, events: Sequence[Object]) -> WorkerChange:
    """The same, with the newest warning among the pod's events where its status says nothing."""
    warnings = [event for event in events if event.get("type") == "Warning"]
    if waiting.reason or not warnings:
        return waiting
    newest = max(warnings, key=_event_time)
    reason = f"{newest.get('reason', '')}: {newest.get('message', '')}"
    return WorkerChange(**{**waiting.__dict__, "reason": reason[:_WORDS]})


def job_failure(job: Object) -> str:
    """Why the Job ended without success, in Kubernetes' words: "" where it did not."""
    for condition in (job.get("status") or {}).get("conditions") or []:
        if condition["type"] in ("Failed", "FailureTarget") and condition["status"] == "True":
            told = f"{condition.get('reason', '')}: {condition.get('message', '')}"
            return one_line(told, _WORDS)
    return ""


def age_seconds(thing: Object, now: datetime.datetime) -> float:
    """Since it was created."""
    created = datetime.datetime.fromisoformat(thing["metadata"]["creationTimestamp"])
    return (now - created).total_seconds()


def _container(status: Object) -> dict[str, Any]:
    for container in status.get("containerStatuses") or []:
        if container.get("name") == "worker":
            return container.get("state") or {}
    return {}


def _end(pod: Object, ended: Object) -> tuple[Cause, str]:
    """Why it ended. What Kubernetes did to it is named before what it did itself."""
    status = pod.get("status") or {}
    if ended.get("reason") == "OOMKilled":
        limit = _memory_limit(pod)
        words = f" of {limit}" if limit else ""
        return "oom", f"OOMKilled: it used more memory than its limit{words}"
    if disrupted := _condition(status, "DisruptionTarget", "True"):
        cause = _BY_CONDITION.get(disrupted.get("reason", ""), "eviction")
        words = disrupted.get("message") or status.get("message") or ""
        return cause, f"{disrupted.get('reason', '')}: {words}"
    why, words = status.get("reason") or "", status.get("message") or ""
    if why:
        return _BY_POD_REASON.get(why, "exit"), f"{why}: {words}"
    code = ended.get("exitCode")
    if code is None:
        return "eviction", "deleted before its container ended by itself"
    deleted = "; its pod was deleted" if pod["metadata"].get("deletionTimestamp") else ""
    number = ended.get("signal") or (code - 128 if code > 128 else 0)
    if number:
        return "signal", _signal(number) + deleted
    last = "" if _is_of_log(pod) else ended.get("message") or ""
    return "exit", f"exit code {code}" + (f": {last}" if last and code else "") + deleted


def _wait(status: Object, waiting: Object) -> tuple[Cause, str]:
    """Why it does not run yet."""
    unplaced = _condition(status, "PodScheduled", "False")
    if unplaced and not waiting:
        return "unschedulable", f"{unplaced.get('reason', '')}: {unplaced.get('message', '')}"
    why, words = waiting.get("reason") or "", waiting.get("message") or ""
    if why in _BAD_IMAGE or why in _BAD_CONTAINER:
        return "image", f"{why}: {words}"
    return "", ""


def _condition(status: Object, kind: str, value: str) -> Object | None:
    for condition in status.get("conditions") or []:
        if condition["type"] == kind and condition["status"] == value:
            return dict(condition)
    return None


def _is_of_log(pod: Object) -> bool:
    """Whether a container's last words are the end of its log, which is no reason: it may be about
    anything."""
    for container in pod["spec"].get("containers", []):
        if container.get("name") == "worker":
            return bool(container.get("terminationMessagePolicy") == "FallbackToLogsOnError")
    return False


def _memory_limit(pod: Object) -> str:
    for container in pod["spec"].get("containers", []):
        if container.get("name") == "worker":
            limit = (container.get("resources") or {}).get("limits", {}).get("memory")
            return str(limit or "")
    return ""


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _event_time(event: Object) -> str:
    series = event.get("series") or {}
    return str(
        series.get("lastObservedTime")
        or event.get("lastTimestamp")
        or event.get("eventTime")
        or event["metadata"].get("creationTimestamp")
        or ""
    )
