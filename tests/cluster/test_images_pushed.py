"""`make images REGISTRY=… PUSH=1` to a real registry, and a pod of what it prints."""

import os
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_images import look

from helpers.cluster.objects import PROJECT
from helpers.ports import HeldPort
from tally.kube.cluster import Cluster

_OWN = Path("/run/tally-containerd/containerd.sock")  # the cluster of up.sh, on this machine

pytestmark = [
    pytest.mark.slow,
    pytest.mark.program("docker-registry"),
    pytest.mark.program("buildah"),
    pytest.mark.skipif(not _OWN.exists(), reason="another machine's nodes cannot pull from here"),
]


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    """A registry of this test's, HTTP on 127.0.0.1."""
    held = HeldPort()
    address = f"127.0.0.1:{held.number}"
    config = tmp_path / "registry.yml"
    config.write_text(
        "version: 0.1\nlog: {level: error}\n"
        f"storage: {{filesystem: {{rootdirectory: {tmp_path}/blobs}}}}\nhttp: {{addr: {address}}}\n"
    )
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            ["docker-registry", "serve", str(config)], stdout=log, stderr=log
        )
    try:
        deadline = time.monotonic() + 20
        while not _answers(address):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        yield address
    finally:
        process.terminate()
        process.wait(10)


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://{address}/v2/", timeout=5):
            return True
    except urllib.error.URLError:
        return False


@pytest.mark.timeout(900)
def test_what_push_prints_is_what_a_node_pulls(
    registry: str, cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    insecure = tmp_path / "registries.conf"
    insecure.write_text(f'[[registry]]\nlocation = "{registry}"\ninsecure = true\n')
    where = {"BUILDER": "buildah", "REGISTRY": f"{registry}/team", "PUSH": "1"}
    done = subprocess.run(
        ["make", "-s", "images"],
        env={**os.environ, "CONTAINERS_REGISTRIES_CONF": str(insecure), **where},
        cwd=PROJECT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    said = dict(line.removeprefix("export ").split("=", 1) for line in done.stdout.splitlines())
    name, meter = said["IMAGES"].split("=")
    assert name == "localhost/tally-meter"
    for pinned in (said["TALLY_IMAGE"], meter):
        path, digest = pinned.removeprefix(f"{registry}/").split("@")
        asked = urllib.request.Request(
            f"http://{registry}/v2/{path}/manifests/{digest}",
            headers={"Accept": "application/vnd.oci.image.manifest.v1+json"},
            method="HEAD",
        )
        with urllib.request.urlopen(asked, timeout=20) as response:
            assert response.headers["Docker-Content-Digest"] == digest
    assert look(cluster, namespace, meter)["user"] == 65532
