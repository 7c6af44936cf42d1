"""Why steps wait or fail, read from the cluster beside the watching, where a kubeconfig is there.

A thread of its own: what it imports takes a second, and a cluster that does not answer must not
hold up the watching. Without credentials, or with those of another cluster, it has nothing to say.
"""

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING

from tally.errors import RunError

if TYPE_CHECKING:
    from tally.kube.cluster import Cluster

LOOK_SECONDS = 2.0
_REQUEST_SECONDS = 5.0
_NOT_ALLOWED = (401, 403)


class Explaining:
    """The reasons of one run's steps, kept up to date until it is stopped.

    Attributes:
        reasons: by step, as of the last look.
    """

    def __init__(self, run_id: str, namespace: str) -> None:
        self.reasons: Mapping[str, str] = {}
        self._run_id, self._namespace = run_id, namespace
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="reasons")
        self._thread.start()

    def last_look(self, seconds: float) -> Mapping[str, str]:
        """The reasons as they are now, if that can be read in this time; nothing is read after."""
        self._stop.set()
        self._thread.join(seconds)
        return self.reasons

    def _run(self) -> None:
        from tally.kube.cluster import Cluster, Refused

        try:
            cluster = Cluster()
        except (RunError, OSError, ValueError):  # none here, or one that cannot be read
            return
        last = False
        while True:
            try:
                self.reasons = self._look(cluster)
            except Refused as error:
                if error.status in _NOT_ALLOWED:
                    return
            if last:
                return
            last = self._stop.wait(LOOK_SECONDS)

    def _look(self, cluster: "Cluster") -> Mapping[str, str]:
        from tally.kube.cluster import Refused
        from tally.kube.manifests import KFP_RUN
        from tally.kube.step_reasons import step_reasons

        query = {"labelSelector": f"{KFP_RUN}={self._run_id}"}
        pods = cluster.request(
            "GET", f"api/v1/namespaces/{self._namespace}/pods", query=query,
            seconds=_REQUEST_SECONDS,
        )["items"]  # fmt: skip
        path = f"apis/argoproj.io/v1alpha1/namespaces/{self._namespace}/workflows"
        try:
            workflows = cluster.request("GET", path, query=query, seconds=_REQUEST_SECONDS)["items"]
        except Refused as error:
            if error.status not in (*_NOT_ALLOWED, 404):
                raise
            workflows = []  # pods alone say most
        return step_reasons(pods, workflows)
