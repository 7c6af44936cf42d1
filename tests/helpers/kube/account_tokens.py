"""A service account's token as a kubelet mounts it, signed by nobody."""

import base64
import json
from pathlib import Path
from typing import Any


def account_token(folder: Path, namespace: str, name: str, **claims: Any) -> Path:
    """The file with the token of an account, in a pod named `step`."""
    bound = {"namespace": namespace, "pod": {"name": "step", "uid": "u-1"},
             "serviceaccount": {"name": name, "uid": "u-2"},
             "node": {"name": "node-0", "uid": "u-3"}}  # fmt: skip
    said = {"sub": f"system:serviceaccount:{namespace}:{name}", "kubernetes.io": bound, **claims}
    parts = [json.dumps(part).encode() for part in ({"alg": "none"}, said)]
    written = [base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts]
    file = folder / "mounted-token"
    file.write_text(".".join([*written, "signature"]))
    return file
