"""The images as pods on a read-only root: who they are, what they weigh, what they do not hold."""

import json
from typing import Any

import pytest

from helpers.cluster.conducting import phase_of
from helpers.cluster.objects import IMAGE, apply, log_of, until_true
from tally.kube.cluster import Cluster

# From inside: each builder and each registry has a size of its own, these are the files' bytes.
LOOK = """
import importlib.util, json, os, shutil, stat
size, privileged = 0, []
for folder, folders, files in os.walk("/"):
    folders[:] = [f for f in folders if not os.path.ismount(os.path.join(folder, f))]
    for file in files:
        path = os.path.join(folder, file)
        found = os.lstat(path)
        size += found.st_size
        if stat.S_ISREG(found.st_mode) and found.st_mode & 0o6000:
            privileged.append(path)
try:
    open("/app/x", "w")
    written = True
except OSError as error:
    written = error.strerror
programs = ["pip", "pip3", "gcc", "cc", "ld", "apt", "dpkg", "perl", "bash", "su", "openssl"]
print(json.dumps({
    "user": os.getuid(), "size": size, "privileged": privileged, "written": written,
    "programs": [name for name in programs if shutil.which(name)],
    "pip": importlib.util.find_spec("pip") is not None,
    "tensorflow": importlib.util.find_spec("tensorflow") is not None,
    "sbom": json.load(open("/opt/tally/sbom.cdx.json")),
}))
"""


def look(cluster: Cluster, namespace: str, image: str) -> dict[str, Any]:
    closed = {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    container = {
        "name": "main",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python", "-c", LOOK],
        "securityContext": closed,
    }
    spec = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        # the image says who: the kubelet refuses a pod whose image says root
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
    }
    apply(cluster, {"kind": "Pod", "metadata": {"name": "look"}, "spec": spec}, namespace)
    ended = until_true(
        lambda: (
            (phase := phase_of(cluster, namespace, "look")) in ("Succeeded", "Failed") and phase
        ),
        60,
    )
    log = log_of(cluster, namespace, "look")
    assert ended == "Succeeded", log
    return dict(json.loads(log))


@pytest.mark.parametrize(
    ("image", "most_megabytes", "tensorflow"),
    [
        pytest.param(IMAGE, 2000, True, id="worker"),
        pytest.param(IMAGE.replace("tally:", "tally-meter:"), 250, False, id="meter"),
    ],
)
def test_an_image_is_slim_and_starts_as_nobody_on_a_read_only_root(
    image: str, most_megabytes: int, tensorflow: bool, cluster: Cluster, namespace: str
) -> None:
    found = look(cluster, namespace, image)
    assert found["user"] == 65532
    assert found["written"] == "Read-only file system"
    assert found["size"] < most_megabytes * 1_000_000
    assert found["privileged"] == found["programs"] == [] and not found["pip"]
    assert found["tensorflow"] is tensorflow
    names = {component["name"].lower() for component in found["sbom"]["components"]}
    assert {"libc6", "ca-certificates", "sqlalchemy", "kubernetes"} <= names
    assert ("keras" in names) is tensorflow and not names & {"apt", "perl-base", "pip"}
