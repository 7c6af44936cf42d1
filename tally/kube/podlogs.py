"""What the pods of a run wrote, from Kubernetes itself, for as long as it has them."""

from collections.abc import Iterator

from tally.kube.cluster import Cluster, Refused
from tally.kube.manifests import GANG, KFP_RUN
from tally.kube.podnames import is_driver, pod_names

_SECONDS = 15.0


def pod_logs(cluster: Cluster, namespace: str, run_id: str) -> Iterator[tuple[str, str, str]]:
    """Of each pod of a run but Kubeflow's drivers, the oldest first: step, worker ("" for the
    step's own pod), log.

    A pod that has not begun, or whose log its node no longer has, is left out.

    Raises:
        Refused: pods may not be listed, or nobody answers.
    """
    path = f"api/v1/namespaces/{namespace}/pods"
    query = {"labelSelector": f"{KFP_RUN}={run_id}"}
    pods = cluster.request("GET", path, query=query, seconds=_SECONDS)["items"]
    for pod in sorted(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp"))):
        if is_driver(pod):
            continue
        names, of_gang = pod_names(pod), GANG in (pod["metadata"].get("labels") or {})
        there = [one["name"] for one in pod["spec"]["containers"]]
        container = next((name for name in ("worker", "main") if name in there), there[0])
        try:
            log = cluster.text(
                f"{path}/{pod['metadata']['name']}/log",
                {"container": container},
                seconds=_SECONDS,
            )
        except Refused as error:
            if error.status in (400, 404, 500):  # not begun, gone, or its node is
                continue
            raise
        yield names.step, names.worker if of_gang else "", log
