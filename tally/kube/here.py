"""Whether the API server is known from inside; apart, since that takes no Kubernetes client."""

import os
from collections.abc import Mapping


def in_cluster(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this process is in any pod, a notebook's too: runcontext.py knows a step's."""
    return bool(environment.get("KUBERNETES_SERVICE_HOST"))
