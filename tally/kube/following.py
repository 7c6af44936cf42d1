"""Following the pods of a gang: a list, then changes, again from the list where they broke off."""

import threading
from collections.abc import Callable, Mapping

from tally.kube.cluster import Cluster, Refused
from tally.kube.template import Object

_WATCH_SECONDS = 60
_PAUSE_SECONDS = (0.2, 5.0)  # after a failure: the first and the longest
_GONE = 410

Seen = Callable[[Object, bool], None]
"""Called with each pod as it looks now; True where the API server shows it no more."""


def follow(
    cluster: Cluster, path: str, selector: str, seen: Seen, stopped: threading.Event
) -> None:
    """Tell of each pod as it is and whenever it changes, until `stopped`.

    No change is lost to a broken connection: what went away meanwhile is missing in the next list.

    Args:
        cluster: asked again for as long as it takes.
        path: of the pods of a namespace.
        selector: of labels.
        seen: called from this thread.
        stopped: ends it, at the latest when the server ends a watch.
    """
    known: dict[str, Object] = {}
    pause_seconds, longest_seconds = _PAUSE_SECONDS
    while not stopped.is_set():
        try:
            version = _list(cluster, path, selector, known, seen)
            pause_seconds = _PAUSE_SECONDS[0]
            while not stopped.is_set():
                version = _watch(cluster, path, selector, version, known, seen, stopped)
        except Refused as error:
            if error.status != _GONE:
                stopped.wait(pause_seconds)
                pause_seconds = min(2 * pause_seconds, longest_seconds)


def _list(cluster: Cluster, path: str, selector: str, known: dict[str, Object], seen: Seen) -> str:
    answer = cluster.request("GET", path, query={"labelSelector": selector})
    pods = {pod["metadata"]["uid"]: pod for pod in answer["items"]}
    for uid in known.keys() - pods.keys():
        seen(known.pop(uid), True)
    for uid, pod in pods.items():
        known[uid] = pod
        seen(pod, False)
    return str(answer["metadata"]["resourceVersion"])


def _watch(
    cluster: Cluster,
    path: str,
    selector: str,
    version: str,
    known: dict[str, Object],
    seen: Seen,
    stopped: threading.Event,
) -> str:
    """Changes from `version` on; the version to go on from."""
    query: Mapping[str, str] = {"labelSelector": selector, "resourceVersion": version}
    for kind, pod in cluster.watch(path, query, seconds=_WATCH_SECONDS):
        version = str(pod["metadata"]["resourceVersion"])
        if kind != "BOOKMARK":
            uid = pod["metadata"]["uid"]
            if kind == "DELETED":
                known.pop(uid, None)
            else:
                known[uid] = pod
            seen(pod, kind == "DELETED")
        if stopped.is_set():
            break
    return version
