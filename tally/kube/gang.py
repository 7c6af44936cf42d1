"""A gang of pods: an Indexed Job and what belongs to it."""

import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from tally import clock
from tally.gang.gang import WorkerChange
from tally.kube import finalizer, reasons
from tally.kube.cluster import Cluster, Refused
from tally.kube.following import follow
from tally.kube.former import already_gone, delete_pod, remove_former
from tally.kube.manifests import GANG, GangSpec, gang_objects, job_name, worker_prefix
from tally.kube.telling import Teller
from tally.kube.template import Object, WorkerTemplate, moved
from tally.machines.catalogue import machine
from tally.scaling.rightsizing import WORKER, after_oom_bytes

_STOP_REQUEST_SECONDS = 5.0


class KubernetesGang:
    """Workers as pods, all of them in one Job, or two while the machine type changes.

    Implements tally.gang.gang.Gang. Kubernetes replaces a pod that ended, was deleted or was
    evicted 10 s later, then 20 s, … 10 minutes, counted for each worker on its own. One that ends
    with exit code 0 is done and is not replaced, one with 75 fails the Job.
    """

    def __init__(
        self, cluster: Cluster, spec: GangSpec, template: WorkerTemplate, token: bytes
    ) -> None:
        """Nothing is asked of the cluster yet.

        Args:
            cluster: where it runs.
            spec: whose gang it is.
            template: of its workers.
            token: with which they join; printable.
        """
        self._cluster, self._spec, self._template, self._token = cluster, spec, template, token
        self._selector = f"{GANG}={spec.name}"
        self._core = f"api/v1/namespaces/{spec.namespace}"
        self._pods = f"{self._core}/pods"
        self._jobs = f"apis/batch/v1/namespaces/{spec.namespace}/jobs"
        self._uids: dict[str, str] = {}  # of the Jobs, by name
        self._move = 0
        self._workers = 0
        self._told: Callable[[WorkerChange], None] | None = None
        self._teller = Teller(self._events_of, self._failure, self._missing)
        self._following = False
        self._over_uids: set[str] = set()  # of pods that only the meter's finalizer holds
        self._stopped = threading.Event()  # nothing is made any more
        self._over = threading.Event()  # nothing is told any more

    def start(self, workers: int) -> None:
        """As Gang.

        Raises:
            RunError: what an earlier attempt left does not go, or the cluster refuses something.
        """
        remove_former(self._cluster, self._jobs, self._pods, self._selector)
        self._make_job(self._template, workers)
        self._begin_following()

    def watch(self, told: Callable[[WorkerChange], None]) -> None:
        """As Gang; before or after `start`."""
        self._told = told
        self._begin_following()

    def resize(self, workers: int) -> None:
        """As Gang; while the machine type changes, of the new Job.

        Raises:
            RunError: the cluster refuses it.
        """
        if self._stopped.is_set():
            return
        self._workers = workers
        size = {"parallelism": workers, "completions": workers}
        self._cluster.request("PATCH", f"{self._jobs}/{self._job}", {"spec": size})

    def end(self, worker: str, uid: str) -> None:
        """As Gang."""
        query = {"labelSelector": self._selector}
        for pod in self._cluster.request("GET", self._pods, query=query)["items"]:
            if pod["metadata"]["uid"] == uid:
                delete_pod(self._cluster, self._pods, pod, seconds=1)

    def stop(self, grace_seconds: float) -> None:
        """As Gang: one request deletes the Jobs, Kubernetes the rest; pods have 5 s of their own.

        It does not raise: who stops has nothing to do about it, and workers end by themselves
        when the coordinator is gone.
        """
        deadline = time.monotonic() + grace_seconds
        if not self._stopped.is_set():
            self.end_soon()
        if self._following:
            self._teller.all_ended(max(0.0, deadline - time.monotonic()))
        self._over.set()

    def end_soon(self) -> None:
        """As Gang: the one request of `stop`."""
        self._stopped.set()
        body = {"propagationPolicy": "Background"}
        query = {"labelSelector": self._selector}
        try:
            self._cluster.request(
                "DELETE", self._jobs, body, query=query, seconds=_STOP_REQUEST_SECONDS
            )
        except Refused as error:
            print(f"{error}; then `make reap`", file=sys.stderr)

    def move(self, machine_type: str, workers: int) -> None:
        """As Gang; see `begin_move`."""
        self.begin_move(moved(self._template, machine(machine_type)), workers)

    def enlarge(self, workers: int) -> int:
        """As Gang; see `begin_move`.

        Raises:
            RunError: the cluster refuses it; those that are there stay.
        """
        if self._template.whole_machine:
            return 0
        more = after_oom_bytes(self._template.memory_bytes, WORKER.memory_limit_bytes)
        larger = replace(self._template, memory_bytes=more, memory_request_bytes=more)
        self.begin_move(larger, workers)
        return more

    def begin_move(self, template: WorkerTemplate, workers: int) -> None:
        """Start so many workers of another template beside those that are there.

        They are named "1.0", "1.1", …, after the next move "2.0", …. `finish_move` ends the others.

        Raises:
            RunError: the cluster refuses something; those that are there stay.
        """
        if self._stopped.is_set():
            return
        self._move += 1
        try:
            self._make_job(template, workers)
        except Refused:
            self._move -= 1
            raise
        self._template = template

    def finish_move(self) -> None:
        """End the workers of all Jobs but the newest.

        Raises:
            RunError: the cluster refuses it.
        """
        for name in [name for name in self._uids if name != self._job]:
            with already_gone():
                body = {"propagationPolicy": "Background"}
                self._cluster.request("DELETE", f"{self._jobs}/{name}", body)
            del self._uids[name]

    @property
    def _job(self) -> str:
        return job_name(self._spec, self._move)

    def _make_job(self, template: WorkerTemplate, workers: int) -> None:
        """A suspended Job; what it needs, owned by it; then it may run, or its queue lets it."""
        wanted = gang_objects(self._spec, template, self._token, workers, self._move)
        job = self._cluster.request("POST", self._jobs, wanted.job)
        name = job["metadata"]["name"]
        self._uids[name] = job["metadata"]["uid"]
        self._workers = workers
        owner = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "name": name,
            "uid": job["metadata"]["uid"],
            "blockOwnerDeletion": True,  # deleted in the foreground, the Job goes last
        }
        for path, part in wanted.parts:
            owned = {**part, "metadata": {**part["metadata"], "ownerReferences": [owner]}}
            path = path.format(f"namespaces/{self._spec.namespace}")
            self._cluster.request("POST", path, owned)
        if not self._stopped.is_set() and not self._spec.queue:  # else Kueue says when
            self._cluster.request("PATCH", f"{self._jobs}/{name}", {"spec": {"suspend": False}})

    def _begin_following(self) -> None:
        """Once there is a gang and somebody to tell."""
        if self._following or not self._uids or self._told is None:
            return
        self._following = True
        for target, args in (
            (follow, (self._cluster, self._pods, self._selector, self._see, self._over)),
            (self._teller.tell, (self._told, self._over)),
        ):
            threading.Thread(target=target, args=args, daemon=True).start()

    def _see(self, pod: Object, gone: bool) -> None:
        """A pod as it looks now; one that only the meter's finalizer holds is as good as gone."""
        uid = pod["metadata"]["uid"]
        if uid not in self._over_uids:
            over = finalizer.is_over(pod)
            self._teller.see(pod, gone or over)
            if over:
                self._over_uids.add(uid)
        if gone:
            self._over_uids.discard(uid)

    def _events_of(self, uid: str) -> Sequence[Object]:
        try:
            query = {"fieldSelector": f"involvedObject.uid={uid}"}
            return list(self._cluster.request("GET", f"{self._core}/events", query=query)["items"])
        except Refused:
            return []  # they only explain

    def _failure(self, pod: Object) -> str:
        """Why this pod's Job has failed."""
        if self._stopped.is_set():
            return ""
        name = pod["metadata"]["labels"]["tally.dev/worker"]
        try:
            return reasons.job_failure(self._cluster.request("GET", f"{self._jobs}/{name}"))
        except Refused:
            return ""

    def _missing(self, names: frozenset[str]) -> Sequence[WorkerChange]:
        """Workers of the newest Job without a pod for which the Job has a warning."""
        wanted = [f"{worker_prefix(self._move)}{index}" for index in range(self._workers)]
        absent = [name for name in wanted if name not in names]
        uid = self._uids.get(self._job)
        if not absent or uid is None or self._stopped.is_set():
            return []
        now = clock.now_microseconds()
        waiting = [
            WorkerChange(worker=name, uid="", state="pending", at_microseconds=now)
            for name in absent
        ]
        events = [e for e in self._events_of(uid) if e.get("reason") == "FailedCreate"]
        told = (reasons.from_events(change, events) for change in waiting)
        return [
            WorkerChange(**{**change.__dict__, "cause": "unschedulable"})
            for change in told
            if change.reason
        ]
