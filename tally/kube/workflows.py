"""What a cluster shows of a run: its Workflow, or else the pods that conduct it."""

from tally.kube.cluster import Cluster, Refused
from tally.kube.ended import Run, Seen
from tally.kube.manifests import CONDUCTOR, KFP_RUN

_WORKFLOWS = "apis/argoproj.io/v1alpha1"
_SECONDS = 5.0


def look(cluster: Cluster, run: Run, *, argo: bool) -> Seen:
    """A gang's run as the cluster shows it now.

    Args:
        cluster: as somebody who may list Workflows and pods.
        run: which.
        argo: there are Workflows; see `has_workflows`.

    Raises:
        Refused: something cannot be read; nothing is known then.
    """
    seen = look_for_workflow(cluster, run) if argo else Seen()
    if seen.workflows or seen.is_gone:
        return seen
    query = {"labelSelector": f"{KFP_RUN}={run.id},{CONDUCTOR}"}
    path = f"api/v1/namespaces/{run.namespace}/pods"
    pods = cluster.request("GET", path, query=query, seconds=_SECONDS)
    return Seen(conductors=pods["items"] or ())


def look_for_workflow(cluster: Cluster, run: Run) -> Seen:
    """The same of any run, by its Workflow alone.

    By its name it is one key to the API server; by label it may have to read them all.

    Raises:
        Refused: it cannot be read.
    """
    by = (
        {"fieldSelector": f"metadata.name={run.workflow}"}
        if run.workflow
        else {"labelSelector": f"{KFP_RUN}={run.id}"}
    )
    path = f"{_WORKFLOWS}/namespaces/{run.namespace}/workflows"
    try:
        found = cluster.request("GET", path, query=by, seconds=_SECONDS)["items"] or []
    except Refused as error:
        if error.status != 404:
            raise
        return Seen()  # the kind has just gone: that says nothing of a run
    return Seen(found, is_gone=bool(run.workflow) and not found)


def has_workflows(cluster: Cluster) -> bool:
    """Whether the cluster has Argo's kind; what anybody may ask.

    Raises:
        Refused: the cluster does not say.
    """
    try:
        kinds = cluster.request("GET", _WORKFLOWS, seconds=_SECONDS)
    except Refused as error:
        if error.status == 404:
            return False
        raise
    return any(kind.get("name") == "workflows" for kind in kinds.get("resources", []))
