"""What kubectl makes of manifests/, and what pods may look like under `restricted`."""

import functools
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from helpers import TESTS

PROJECT = TESTS.parent
MANIFESTS = PROJECT / "manifests"
_OWN = Path(os.environ.get("STATE") or "/var/cache/tally-cluster")  # of cluster-up
KUBECTL = shutil.which("kubectl") or str(_OWN / "bin/kubectl")
OVERLAYS = sorted(folder.name for folder in (MANIFESTS / "overlays").iterdir())
COMPONENTS = sorted(folder.name for folder in (MANIFESTS / "components").iterdir())

Object = dict[str, Any]
_VOLUMES = {
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim",
    "projected", "secret",
}  # fmt: skip


@functools.cache
def _text(folder: Path) -> str:
    made = subprocess.run([KUBECTL, "kustomize", str(folder)], capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    return made.stdout


def built(folder: Path) -> list[Object]:
    """The objects of a kustomization, made anew for each who asks."""
    return list(yaml.safe_load_all(_text(folder)))


def overlay(name: str) -> list[Object]:
    return built(MANIFESTS / "overlays" / name)


def with_components(folder: Path, overlay: str, *names: str) -> Path:
    """The folder of an overlay of one's own: one that is shipped, with these components."""

    def way(path: str) -> str:
        return os.path.relpath(MANIFESTS / path, folder.resolve())

    own = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [way(f"overlays/{overlay}")],
        "components": [way(f"components/{name}") for name in names],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(own))
    return folder


def of(objects: list[Object], kind: str, name: str | None = None) -> list[Object]:
    return [o for o in objects if o["kind"] == kind and name in (None, o["metadata"]["name"])]


def the(objects: list[Object], kind: str, name: str) -> Object:
    (found,) = of(objects, kind, name)
    return found


def key(item: Object) -> tuple[str, str, str, str]:
    meta = item["metadata"]
    group = item["apiVersion"].rpartition("/")[0]
    return group, item["kind"], meta.get("namespace", ""), meta["name"]


def pods(objects: list[Object]) -> Iterator[tuple[str, Object]]:
    """(name of what makes it, pod template)."""
    for item in objects:
        if template := item.get("spec", {}).get("template"):
            yield f"{item['kind']} {item['metadata']['name']}", template


def insecure(pod: Object) -> list[str]:
    """What the standard `restricted` has against a pod's spec (kubernetes.io, Pod Security
    Standards, v1.34)."""
    against = [
        f"{field}: true" for field in ("hostNetwork", "hostPID", "hostIPC") if pod.get(field)
    ]
    whole = pod.get("securityContext", {})
    for volume in pod.get("volumes", []):
        if strange := set(volume) - {"name"} - _VOLUMES:
            against.append(f"volume {volume['name']}: {strange}")
    for one in [*pod["containers"], *pod.get("initContainers", [])]:
        own = one.get("securityContext", {})
        both = {**whole, **own}
        seen = {
            "runAsNonRoot": both.get("runAsNonRoot") is True,
            "runAsUser": both.get("runAsUser") != 0,
            "seccompProfile": both.get("seccompProfile", {}).get("type") == "RuntimeDefault",
            "allowPrivilegeEscalation": own.get("allowPrivilegeEscalation") is False,
            "privileged": not own.get("privileged"),
            "capabilities": own.get("capabilities") == {"drop": ["ALL"]},
            "hostPort": not any(port.get("hostPort") for port in one.get("ports", [])),
        }
        against += [f"{one['name']}: {field}" for field, good in seen.items() if not good]
    return against
