"""Which life of a run's step a pod is, told apart by the pods' uids.

A retry of Kubeflow's begins a step anew under the same names, of its pod and of its Argo node, and
only the uid differs. So each life leaves its uid in the store, which outlives it.
"""

import io
from pathlib import Path

from tally import storage
from tally.buckets import kept
from tally.storage import CloudPath

_SECONDS = 10.0


def count(run_id: str, step: str, pod_uid: str) -> int:
    """How many lives of a step there have been, with this one.

    Raises:
        RunError: the store does not answer.
    """
    folder = storage.store() / "runs" / run_id / "lives" / step
    if isinstance(folder, CloudPath):
        kept.put(folder, {pod_uid: io.BytesIO(pod_uid.encode())}, _SECONDS)
        return len({entry.name.rpartition("/")[2] for entry in kept.listed(folder, _SECONDS)})
    path: Path = folder
    with storage.atomic_file(path / pod_uid) as file:
        file.write(pod_uid.encode())
    return sum(not life.name.startswith(".") for life in path.iterdir())
