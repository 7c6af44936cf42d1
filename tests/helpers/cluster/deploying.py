"""`make deploy` and `make undeploy` as people run them, and what there is of Tally in a cluster."""

import contextlib
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from helpers.cluster.metering import OWN
from helpers.cluster.objects import PROJECT
from helpers.cluster.volumes import bind, is_node_here, open_folder
from tally.kube.cluster import Cluster

TALLY, RUNS = "tally", "tally-runs"  # namespaces of the overlay `local`
LEDGER = {f"namespace/{TALLY}", "persistentvolumeclaim/tally-ledger"}
"""What undeploy leaves."""
_CLAIMS = {"tally-ledger": "5Gi", "tally-prometheus": "20Gi"}
_USUAL = {"serviceaccount/default", "configmap/kube-root-ca.crt"}  # in every namespace


@dataclass(frozen=True)
class Deployed:
    """The overlay `local`.

    Attributes:
        first, again: what kubectl said of each object when it was deployed, and deployed once more.
    """

    first: list[str]
    again: list[str]


def kubectl(*words: str, given: str = "") -> str:
    """What it says; it has to go well."""
    program = shutil.which("kubectl") or str(OWN / "bin/kubectl")
    done = subprocess.run([program, *words], input=given, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def make(target: str, overlay: str, **values: str) -> "subprocess.CompletedProcess[str]":
    """`make TARGET OVERLAY=… …`."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "KUBECONFIG")}
    given = [f"{name}={value}" for name, value in {"OVERLAY": overlay, **values}.items() if value]
    return subprocess.run(
        ["make", "--no-print-directory", target, *given],
        cwd=PROJECT, env=kept, capture_output=True, text=True,
    )  # fmt: skip


def deploy(overlay: str, **values: str) -> list[str]:
    """What kubectl says of each object."""
    done = make("deploy", overlay, IMAGES=_images(), **values)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


def undeploy(overlay: str) -> None:
    """Whatever gangs other tests have."""
    done = make("undeploy", overlay, FORCE="1")
    assert done.returncode == 0, done.stdout + done.stderr


def _images() -> str:
    """In the cluster of up.sh, which has no registry, Prometheus is that of prometheus.sh."""
    if not is_node_here():
        return ""
    text = (PROJECT / "manifests/prometheus/server.yaml").read_text()
    (version,) = re.findall(r"image: prom/prometheus:(\S+)", text)
    return f"prom/prometheus=localhost/prometheus:{version}"


def inside(namespace: str) -> set[str]:
    """The names, each with its kind, of all that somebody has made in a namespace, but events."""
    return _all("--namespaced=true", "-n", namespace) - _USUAL


def left() -> set[str]:
    """All that there is of Tally: what carries its label, and all in its namespace."""
    labelled = "-l", f"app.kubernetes.io/part-of={TALLY}"
    everywhere = _all("--namespaced=true", "-A", *labelled) | _all("--namespaced=false", *labelled)
    return everywhere | inside(TALLY)


def _all(of: str, *where: str) -> set[str]:
    kinds = set(kubectl("api-resources", "--verbs=list", of, "-o", "name").split())
    kinds -= {"events", "events.events.k8s.io", "componentstatuses"}
    return set(kubectl("get", ",".join(sorted(kinds)), *where, "-o", "name").split())


@contextlib.contextmanager
def no_tally(cluster: Cluster, folder: Path) -> Iterator[None]:
    """The cluster as it is without Tally, with room for its claims; afterwards as well."""
    assert not (there := left()), there
    if is_node_here():
        for claim, size in _CLAIMS.items():
            bind(cluster, open_folder(folder / claim), TALLY, claim, "ReadWriteOnce", size)
    try:
        yield
    finally:
        kubectl("delete", "namespace", TALLY, "--ignore-not-found")
        if is_node_here():
            names = [f"{TALLY}-{claim}" for claim in _CLAIMS]
            kubectl("delete", "persistentvolume", *names, "--ignore-not-found")


@contextlib.contextmanager
def forwarded(service: str, port: int) -> Iterator[str]:
    """The URL of a service of the namespace tally on this machine, as README says; kubectl leads to
    one pod, and ends with it: then it is asked for the next one, at the same port."""
    program = shutil.which("kubectl") or str(OWN / "bin/kubectl")
    words = [program, "port-forward", "-n", TALLY, f"service/{service}"]
    process = subprocess.Popen([*words, f":{port}"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    said = process.stdout.readline()
    found = re.search(r"127\.0\.0\.1:(\d+)", said)
    assert found, f"{words}: {said}"
    over = threading.Event()

    def go_on() -> None:
        nonlocal process
        process.communicate()  # it says a line for each connection, and waits where nobody reads
        while not over.wait(0.5):
            process = subprocess.Popen([*words, f"{found[1]}:{port}"], stdout=subprocess.DEVNULL)
            process.wait()

    thread = threading.Thread(target=go_on, daemon=True)
    thread.start()
    try:
        yield f"http://{found[0]}"
    finally:
        over.set()
        while thread.is_alive():
            process.terminate()
            thread.join(0.2)
