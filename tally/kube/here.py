"""Whether this process is in a pod; apart, since it needs no Kubernetes client to be known."""

import os


def is_here() -> bool:
    """Whether this process is in a pod and its workers are to be pods; TALLY_GANG=local denies."""
    inside = bool(os.environ.get("KUBERNETES_SERVICE_HOST"))
    return inside and os.environ.get("TALLY_GANG") != "local"
