"""A pod that looks at the store from inside the cluster, and is removed again."""

import secrets
import time
from dataclasses import dataclass

from tally.kube import reasons
from tally.kube.cluster import Cluster, Refused
from tally.kube.former import already_gone
from tally.kube.manifests import KFP_RUN
from tally.kube.step_reasons import end_of
from tally.kube.telling import WAITING_SECONDS
from tally.kube.template import (
    CONTAINER_SECURITY,
    POD_SECURITY,
    Object,
    Volume,
    WorkerTemplate,
    entries,
    resources,
)
from tally.oneline import one_line

PROBE = "tally.dev/probe"
COMMAND = ("python", "-m", "tally.buckets.probing", "/dev/termination-log")
_LOOK_SECONDS = 0.5
_WORDS = 500
_REQUEST_SECONDS = 5.0
_LIFE_SECONDS = 60  # after which Kubernetes ends it itself


@dataclass(frozen=True)
class Probed:
    """What came of it.

    Attributes:
        good: the store was listed.
        words: the pod's own, or why there are none; one line.
        cause: as of a worker: "unschedulable", "image", "exit", …; "" where it has come to no end.
    """

    good: bool
    words: str
    cause: str = ""


class Probe:
    """One such pod, from before it is made until it is gone."""

    def __init__(self, cluster: Cluster, namespace: str, template: WorkerTemplate) -> None:
        """Nothing is asked of the cluster yet.

        Args:
            cluster: where it runs.
            namespace: of the runs' pods.
            template: its image, environment, credentials, volumes, account and size.
        """
        self.name = f"tally-probe-{secrets.token_hex(4)}"
        self._cluster, self._template = cluster, template
        self._core = f"api/v1/namespaces/{namespace}"
        self._pods = f"{self._core}/pods"

    def run(self, seconds: float) -> Probed:
        """Make the pod and wait for what it says.

        Args:
            seconds: for all of it; what keeps it waiting is its end then.

        Raises:
            Refused: the cluster does not make it, or does not show it.
        """
        deadline = time.monotonic() + seconds
        self._remove_former()
        try:
            wanted = probe_pod(self.name, self._template)
            self._cluster.request("POST", self._pods, wanted, seconds=_REQUEST_SECONDS)
        except Refused as error:
            if error.status != 409:  # else a first request was answered to nobody
                raise
        began = time.monotonic()
        while True:
            left = max(0.0, deadline - time.monotonic())
            path = f"{self._pods}/{self.name}"
            pod = self._cluster.request("GET", path, seconds=min(_REQUEST_SECONDS, left + 1))
            if end := outcome(pod, time.monotonic() - began):
                return end
            if left <= _LOOK_SECONDS:
                return unfinished(pod, self._events_of(pod), seconds)
            time.sleep(_LOOK_SECONDS)

    def remove(self) -> str:
        """Have it gone; why it is not, "" where it is or never was."""
        try:
            self._delete(self.name)
        except Refused as error:
            return error.words or error.why
        return ""

    def _delete(self, name: str) -> None:
        with already_gone():
            now = {"gracePeriodSeconds": 0}
            path = f"{self._pods}/{name}"
            self._cluster.request("DELETE", path, now, seconds=_REQUEST_SECONDS)

    def _remove_former(self) -> None:
        """What a doctor that was killed has left, once it has ended."""
        try:
            found = self._cluster.request(
                "GET", self._pods, query={"labelSelector": PROBE}, seconds=_REQUEST_SECONDS
            )
            for pod in found["items"]:
                if (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
                    self._delete(pod["metadata"]["name"])
        except Refused:
            return  # nothing depends on it

    def _events_of(self, pod: Object) -> list[Object]:
        query = {"fieldSelector": f"involvedObject.uid={pod['metadata'].get('uid', '')}"}
        try:
            path = f"{self._core}/events"
            return list(self._cluster.request("GET", path, query=query, seconds=1.0)["items"])
        except Refused:
            return []  # they only explain


def outcome(pod: Object, waited_seconds: float) -> Probed | None:
    """What came of it, as its pod looks now; None while it may still come right. Pure.

    Args:
        pod: as the API server shows it.
        waited_seconds: since it was made.
    """
    now = end_of(pod)
    if now.state == "pending":
        given_up = reasons.is_certain(now) or waited_seconds >= WAITING_SECONDS
        if now.cause == "image" and given_up:
            return Probed(False, _line(now.reason), now.cause)
        return None
    if now.state != "ended":
        return None
    said = _last_line(pod) if now.cause in ("", "exit") else ""
    return Probed(now.exit_code == 0, said or _line(now.reason), now.cause)


def unfinished(pod: Object, events: list[Object], seconds: float) -> Probed:
    """What it is that has come to no end in time. Pure."""
    now = end_of(pod)
    if now.state == "started":
        return Probed(False, f"it runs and has said nothing within {seconds:g} s")
    now = reasons.from_events(now, events)
    return Probed(False, _line(now.reason) or f"it has not started within {seconds:g} s", now.cause)


def probe_pod(name: str, template: WorkerTemplate) -> Object:
    """The pod; as a namespace of the standard `restricted` takes it. Pure.

    Args:
        name: its own.
        template: what it looks like.
    """
    volumes = [
        Volume(name="tmp", path="/tmp", source={"emptyDir": {}}),  # noqa: S108
        *template.volumes,
    ]
    spec: Object = {
        "restartPolicy": "Never",
        "activeDeadlineSeconds": _LIFE_SECONDS,
        "terminationGracePeriodSeconds": 1,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "serviceAccountName": template.service_account,
        "imagePullSecrets": [{"name": secret} for secret in template.pull_secrets],
        "securityContext": POD_SECURITY,
        "containers": [
            {
                "name": "main",
                "image": template.image,
                "imagePullPolicy": template.pull_policy,
                "command": list(template.command),
                "env": entries(template),
                "resources": resources(template),
                "terminationMessagePolicy": "FallbackToLogsOnError",
                "securityContext": CONTAINER_SECURITY,
                "volumeMounts": [{"name": v.name, "mountPath": v.path} for v in volumes],
            }
        ],
        "volumes": [{"name": volume.name, **volume.source} for volume in volumes],
    }
    # of no run, and yet a network policy for steps is to hold for it
    labels = {PROBE: "store", KFP_RUN: ""}
    annotations = {"sidecar.istio.io/inject": "false"}
    meta = {"name": name, "labels": labels, "annotations": annotations}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}


def _last_line(pod: Object) -> str:
    """Of what its container said at its end."""
    for container in (pod.get("status") or {}).get("containerStatuses") or []:
        if container.get("name") == "main":
            ended = (container.get("state") or {}).get("terminated") or {}
            return _line(next(reversed((ended.get("message") or "").strip().splitlines()), ""))
    return ""


def _line(text: str) -> str:
    return one_line(text, _WORDS)
