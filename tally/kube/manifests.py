"""Pure: the objects of a gang: an Indexed Job, and its own Secret, Service and NetworkPolicy.

The other three belong to the Job: whoever deletes the Job deletes all, in one request.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tally.kube.template import METRICS_PORT, Object, WorkerTemplate, pod_spec

COORDINATOR_LOST = 75
GANG = "tally.dev/gang"
RUN = "tally.dev/run"
KFP_RUN = "pipeline/runid"
CONDUCTOR = "tally.dev/conductor"
FINALIZER = "tally.dev/metered"
SCRAPER = {"app.kubernetes.io/name": "prometheus"}
_UNLIMITED = 2**31 - 1
_NAME_LENGTH = 52  # a worker's host name adds the move and its index, and has 63 at most
QUEUE = "kueue.x-k8s.io/queue-name"
_METADATA_SERVERS = {"169.254.169.254/32": (80,), "169.254.169.252/32": (987, 988)}


@dataclass(frozen=True, kw_only=True)
class GangSpec:
    """Whose gang it is, and where.

    Attributes:
        run_id, step, pipeline, team: its labels.
        attempt: of the run; the gang of an earlier one is deleted by `name`.
        namespace: of all its objects.
        coordinator: the address that workers join, "host:port".
        deadline_seconds: after which Kubernetes itself ends the gang.
        kept_seconds: the Job's record stays so long after its end.
        owner: an ownerReference without `controller`: the Workflow; the gang goes with it.
        store_ports: TCP ports outside the gang that workers reach: those of the store.
        metered: a meter is there; pods stay until it has kept when they ended.
        queue: Kueue's LocalQueue, which says when the gang may run; "" where there is none.
    """

    run_id: str
    step: str
    pipeline: str
    team: str
    attempt: int
    namespace: str
    coordinator: str
    deadline_seconds: int
    kept_seconds: int = 600
    owner: Mapping[str, Any] | None = None
    store_ports: tuple[int, ...] = (443,)
    metered: bool = False
    queue: str = ""

    @property
    def name(self) -> str:
        """Of the gang, the same in each attempt; also of its first Job."""
        return gang_name(self.run_id, self.step)


@dataclass(frozen=True)
class GangObjects:
    """All that one Job of a gang needs. It is made suspended, so that the rest is there first."""

    job: Object
    parts: tuple[tuple[str, Object], ...]
    """(path of its kind below the namespace, object); to be owned by the Job."""


def gang_name(run_id: str, step: str) -> str:
    """A DNS label; a long one loses the middle of the run's id, of which the end is random."""
    name = _slug(f"tally-{run_id}-{step}")
    if len(name) <= _NAME_LENGTH:
        return name
    tail = _slug(f"{run_id[-17:]}-{step}")
    return _slug(f"{name[: _NAME_LENGTH - len(tail) - 1]}-{tail}"[:_NAME_LENGTH])


def job_name(spec: GangSpec, move: int) -> str:
    """Of the gang's Job after so many changes of machine type."""
    return f"{spec.name}-m{move}" if move else spec.name


def worker_prefix(move: int) -> str:
    """Workers are named "0", "1", …; after a change of machine type "1.0", "1.1", …."""
    return f"{move}." if move else ""


def labels(spec: GangSpec, move: int = 0) -> dict[str, str]:
    """Of all objects of a gang. KFP gives pipeline/runid to its own pods only, so it is here too.

    tally.dev/worker has the Job: all pods of a Job have the same labels, and the index stands in
    batch.kubernetes.io/job-completion-index.
    """
    return {
        GANG: spec.name,
        RUN: label_value(spec.run_id),
        KFP_RUN: label_value(spec.run_id),
        "tally.dev/step": label_value(spec.step),
        "tally.dev/pipeline": label_value(spec.pipeline),
        "tally.dev/team": label_value(spec.team),
        "tally.dev/attempt": str(spec.attempt),
        "tally.dev/worker": job_name(spec, move),
    }


def label_value(text: str) -> str:
    """What a label can hold of a user's word."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text)[:63].strip("-._")


def gang_objects(
    spec: GangSpec, template: WorkerTemplate, token: bytes, workers: int, move: int = 0
) -> GangObjects:
    """One Job with what it needs.

    Args:
        spec: whose gang it is.
        template: of its workers.
        token: of the gang; printable.
        workers: how many.
        move: how often the machine type was changed before.
    """
    name = job_name(spec, move)
    meta = {"name": name, "namespace": spec.namespace, "labels": labels(spec, move)}
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": meta,
        "immutable": True,
        "stringData": {"token": token.decode()},
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": meta,
        "spec": {
            "clusterIP": "None",
            "selector": {GANG: spec.name, "tally.dev/worker": name},
            "publishNotReadyAddresses": True,
        },
    }
    return GangObjects(
        _job(spec, template, workers, move, meta),
        (
            ("api/v1/{}/secrets", secret),
            ("api/v1/{}/services", service),
            ("apis/networking.k8s.io/v1/{}/networkpolicies", _policy(spec, meta)),
        ),
    )


def _job(spec: GangSpec, template: WorkerTemplate, workers: int, move: int, meta: Object) -> Object:
    owners = {} if spec.owner is None else {"ownerReferences": [dict(spec.owner)]}
    pod = pod_spec(
        template,
        secret=meta["name"],
        subdomain=meta["name"],
        coordinator=spec.coordinator,
        prefix=worker_prefix(move),
    )
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {**meta, **owners, **_queued(spec, meta)},
        "spec": {
            "suspend": True,
            "completionMode": "Indexed",
            "parallelism": workers,
            "completions": workers,
            # per index: one worker's deaths do not hold up another's replacement
            "backoffLimitPerIndex": _UNLIMITED,
            "activeDeadlineSeconds": spec.deadline_seconds,
            "ttlSecondsAfterFinished": spec.kept_seconds,
            "podFailurePolicy": {"rules": failure_rules()},
            "template": {
                "metadata": {
                    "labels": meta["labels"],
                    "annotations": {"sidecar.istio.io/inject": "false"},
                    **({"finalizers": [FINALIZER]} if spec.metered else {}),
                },
                "spec": pod,
            },
        },
    }


def _queued(spec: GangSpec, meta: Object) -> Object:
    """In a queue of Kueue's, where it may also be resized (kueue.sigs.k8s.io, Elastic Workloads).
    Of the Job only: with the label its pods would be queued once more, each by itself."""
    if not spec.queue:
        return {}
    labels = {**meta["labels"], QUEUE: spec.queue}
    return {"labels": labels, "annotations": {"kueue.x-k8s.io/elastic-job": "true"}}


def failure_rules() -> list[Object]:
    """Orphans end their Job; what Kubernetes does to a pod counts for nothing."""
    lost = {"containerName": "worker", "operator": "In", "values": [COORDINATOR_LOST]}
    return [
        {"action": "FailJob", "onExitCodes": lost},
        {
            "action": "Ignore",
            "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
        },
    ]


def _policy(spec: GangSpec, meta: Object) -> Object:
    """Workers hear one another, and Prometheus on their metrics' port; they reach one another, the
    run's own pods, DNS and the store."""
    gang = {"podSelector": {"matchLabels": {GANG: spec.name}}}
    scraper = {"namespaceSelector": {}, "podSelector": {"matchLabels": SCRAPER}}
    run = {"podSelector": {"matchLabels": {KFP_RUN: label_value(spec.run_id)}}}
    port = int(spec.coordinator.rpartition(":")[2])
    dns = [{"port": 53, "protocol": protocol} for protocol in ("UDP", "TCP")]
    egress: list[Object] = [
        {"to": [gang]},
        {"to": [run], "ports": _tcp(port)},
        {"ports": dns},
        *(
            {"to": [{"ipBlock": {"cidr": cidr}}], "ports": _tcp(*ports)}
            for cidr, ports in _METADATA_SERVERS.items()  # of Google's clouds: credentials of gs://
        ),
    ]
    if spec.store_ports:
        egress.append({"ports": _tcp(*spec.store_ports)})
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": meta,
        "spec": {
            "podSelector": {"matchLabels": {GANG: spec.name}},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"from": [gang]}, {"from": [scraper], "ports": _tcp(METRICS_PORT)}],
            "egress": egress,
        },
    }


def _tcp(*ports: int) -> list[Object]:
    return [{"port": port, "protocol": "TCP"} for port in ports]


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
