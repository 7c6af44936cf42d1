"""What the steps of a run on a cluster wrote: from their pods, else from what Kubeflow keeps."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tally.errors import RunError, SpecError, TallyError
from tally.runs.kubeflow.connection import Connection
from tally.runs.kubeflow.steps import steps

_LOOKS = ("start_time", "end_time")


def logs(
    connection: Connection, run: Mapping[str, Any], names: Sequence[str], step: str
) -> Iterator[tuple[str, str]]:
    """A title and the text of each log, in the order in which the pods began.

    With a kubeconfig they are the pods' own, workers' among them, while the pods are there; without
    one, and later, those that Kubeflow has: it keeps a step's, and no worker's.

    Args:
        connection: to the server.
        run: its answer.
        names: of the run's steps, in order; none where they are not known.
        step: only this one's; "" for all.

    Raises:
        SpecError: the run has no such step, or there is no log.
    """
    names = names or [one.name for one in steps(run)]
    if step and step not in names:
        raise SpecError(
            f"STEP: expected one of {', '.join(names) or 'none'}, got {step}; leave it out for all"
        )
    run_id = str(run["run_id"])
    found = [one for one in _of_pods(connection, run_id) if step in ("", one[0])]
    had = {name for name, _, _ in found}
    for name in names:
        if name not in had and step in ("", name):
            found += [(name, "", text) for text in _kept(connection, run, name)]
    if not found:
        raise SpecError(
            f"run {run_id}: expected a log of {step or 'a step'}, got none: its pods are gone, and "
            f"Kubeflow has kept none; look at {connection.run_link(run_id)}"
        )
    for name, worker, text in found:
        yield name + (f" worker {worker}" if worker else ""), text


def _of_pods(connection: Connection, run_id: str) -> list[tuple[str, str, str]]:
    """Nothing where there is no kubeconfig, or another cluster's, or no right to it."""
    from tally.kube.cluster import Cluster
    from tally.kube.podlogs import pod_logs

    try:
        return list(pod_logs(Cluster(), connection.settings.pods_namespace, run_id))
    except (RunError, OSError, ValueError):
        return []


def _kept(connection: Connection, run: Mapping[str, Any], name: str) -> Iterator[str]:
    """What Kubeflow has of a step: nothing but times links a task with its executors."""
    rows = (run.get("run_details") or {}).get("task_details") or []
    spans = {
        tuple(row.get(look) for look in _LOOKS) for row in rows if row.get("display_name") == name
    }
    for row in rows:
        if row.get("display_name") != "executor":
            continue
        if tuple(row.get(look) for look in _LOOKS) not in spans:
            continue
        for child in row.get("child_tasks") or []:
            path = f"/apis/v1alpha1/runs/{run['run_id']}/nodes/{child.get('pod_name')}/log"
            try:
                yield connection.text(path)
            except TallyError:
                continue  # it is not kept
