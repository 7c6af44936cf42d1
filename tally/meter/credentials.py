"""Where the API server is, and who this is there."""

import os
from pathlib import Path

import kopf

from tally.errors import RunError

_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


def login() -> kopf.ConnectionInfo:
    """Where the API server is and who this is: a pod's service account, else KUBECONFIG's.

    Raises:
        RunError: there are no credentials.
    """
    settings = kopf.OperatorSettings()
    if host := os.environ.get("KUBERNETES_SERVICE_HOST"):
        port = os.environ.get("KUBERNETES_SERVICE_PORT", "443")
        try:
            token = (_ACCOUNT / "token").read_text(encoding="utf-8").strip()
        except OSError as error:
            raise RunError(
                f"the meter: expected a service account's token in {_ACCOUNT}, got '{error}'; "
                "let the pod mount it"
            ) from error
        at = f"[{host}]" if ":" in host else host
        return kopf.ConnectionInfo(
            server=f"https://{at}:{port}", ca_path=_ACCOUNT / "ca.crt", token=token
        )
    found = kopf.login_with_kubeconfig(settings=settings)
    if found is None:
        raise RunError(
            "the meter: expected a pod's service account or a kubeconfig, got neither; "
            "set KUBECONFIG"
        )
    return found
