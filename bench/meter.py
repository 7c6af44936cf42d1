"""What the meter takes of a cluster with a thousand pods: CPU and memory.

    python -m bench.meter [--quick] [--check]

On the real API server of KUBECONFIG, with kwok for its nodes that only exist there (`make
cluster-up` has both): 1,000 pods as KFP makes them, 40 kB each and of 50 runs, on ten such nodes.
The meter runs as its Deployment does, with a SQLite ledger; its CPU time and its memory are
Linux's own figures of the process (utime + stime, VmRSS) over two minutes. Meanwhile one pod a
second is deleted and another made, and /metrics is asked for every 15 seconds, as Prometheus does.

Targets: 100 millicores over those two minutes; 256 MiB at any moment, from its start on.
--quick takes 30 seconds.
"""

import argparse
import concurrent.futures
import contextlib
import copy
import itertools
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil

from tally.costing.ledger import open_ledger
from tally.kube.cluster import Cluster, Refused
from tests.helpers.ports import HeldPort

PODS, NODES, RUNS = 1000, 10, 50
SECONDS, QUICK_SECONDS = 120.0, 30.0
SCRAPE_SECONDS = 15.0
MILLICORES, MEBIBYTES = 100.0, 256.0
_RECORDED = Path(__file__).parents[1] / "tests/kube/pods/kfp-executor.json"
_TEMPLATE_BYTES = 8000  # Argo puts its template into each container's environment
_READY_SECONDS = 180.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    if not os.environ.get("KUBECONFIG"):
        print("bench.meter: expected KUBECONFIG, got none; make cluster-up", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as home, crowd(Cluster()) as crowded:
        figures = measure(crowded, Path(home), QUICK_SECONDS if arguments.quick else SECONDS)
    figures["met"] = (
        figures["millicores"] <= MILLICORES and figures["largest_mebibytes"] <= MEBIBYTES
    )
    print(f"pods                 {figures['pods']:.0f} ({figures['rows']:.0f} rows in the ledger)")
    print(f"all metered after    {figures['ready_seconds']:.1f} s")
    print(
        f"CPU                  {figures['millicores']:.0f} millicores   (target {MILLICORES:.0f})"
    )
    print(f"memory               {figures['mebibytes']:.0f} MiB")
    print(f"memory at its most   {figures['largest_mebibytes']:.0f} MiB   (target {MEBIBYTES:.0f})")
    print(f"/metrics             {figures['metrics_bytes'] / 1000:.0f} kB")
    print(json.dumps(figures))
    return 1 if arguments.check and not figures["met"] else 0


class Crowd:
    """Pods of a namespace of their own, on nodes of their own."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.namespace = f"bench-meter-{secrets.token_hex(3)}"
        self._recorded = json.loads(_RECORDED.read_text())
        self._numbers = itertools.count()
        self._nodes = [f"{self.namespace}-{number}" for number in range(NODES)]

    def begin(self) -> None:
        """Make namespace, nodes and pods."""
        self.cluster.request("POST", "api/v1/namespaces", {"metadata": {"name": self.namespace}})
        account = f"api/v1/namespaces/{self.namespace}/serviceaccounts/default"
        for _ in range(100):
            with contextlib.suppress(Refused):
                self.cluster.request("GET", account)
                break
            time.sleep(0.1)
        shape = {"cpu": "64", "memory": "256Gi", "pods": "500"}
        for name in self._nodes:
            node = {
                "metadata": {
                    "name": name,
                    "annotations": {"kwok.x-k8s.io/node": "fake"},
                    "labels": {"node.kubernetes.io/instance-type": "n2-standard-4"},
                },
                "spec": {"taints": [{"key": "tally.dev/fake", "effect": "NoSchedule"}]},
                "status": {"allocatable": shape, "capacity": shape},
            }
            self.cluster.request("POST", "api/v1/nodes", node)
        with concurrent.futures.ThreadPoolExecutor(8) as threads:
            list(threads.map(lambda _: self.add(), range(PODS)))

    def add(self) -> None:
        """One more pod."""
        number = next(self._numbers)
        pod = copy.deepcopy(self._recorded)
        labels = pod["metadata"]["labels"] | {"pipeline/runid": f"run-{number % RUNS}"}
        pod["metadata"] = {
            "name": f"step-{number}",
            "labels": labels,
            "annotations": pod["metadata"]["annotations"],
        }
        spec = pod["spec"]
        for container in [*spec["containers"], *spec["initContainers"]]:
            container["env"] = [
                *(
                    entry
                    for entry in container.get("env") or []
                    if entry["name"] != "ARGO_TEMPLATE"
                ),
                {"name": "ARGO_TEMPLATE", "value": "x" * _TEMPLATE_BYTES},
            ]
            container["volumeMounts"] = []
        spec |= {
            "nodeName": self._nodes[number % NODES],
            "volumes": [],
            "serviceAccountName": "default",
            "serviceAccount": "default",
            "automountServiceAccountToken": False,
        }
        spec.pop("priority", None)
        path = f"api/v1/namespaces/{self.namespace}/pods"
        self.cluster.request("POST", path, {**pod, "status": {}})

    def remove(self, number: int) -> None:
        """Delete the pod of this number."""
        body = {"gracePeriodSeconds": 0}
        path = f"api/v1/namespaces/{self.namespace}/pods/step-{number}"
        self.cluster.request("DELETE", path, body)

    def end(self) -> None:
        """Take everything away."""
        path = f"api/v1/namespaces/{self.namespace}/pods"
        self.cluster.request("DELETE", path, {"gracePeriodSeconds": 0}, seconds=60)
        for name in self._nodes:
            with contextlib.suppress(Refused):
                self.cluster.request("DELETE", f"api/v1/nodes/{name}")
        self.cluster.request("DELETE", f"api/v1/namespaces/{self.namespace}")


@contextlib.contextmanager
def crowd(cluster: Cluster) -> Iterator[Crowd]:
    """A thousand pods, for the time of this block."""
    made = Crowd(cluster)
    try:
        made.begin()
        yield made
    finally:
        made.end()


def measure(crowded: Crowd, home: Path, seconds: float) -> dict[str, float]:
    """The meter's figures over so many seconds."""
    url = f"sqlite:///{home}/ledger.db"
    held = HeldPort()
    began = time.monotonic()
    log = home / "meter.log"
    meter = started(url, held.number, log)
    try:
        ready = until_metered(meter, url, began)
        process = psutil.Process(meter.pid)
        before, largest, text = process.cpu_times(), 0.0, b""
        first = last_scrape = time.monotonic()
        oldest = itertools.count()
        while (passed := time.monotonic() - first) < seconds:
            assert meter.poll() is None, log.read_text()
            crowded.remove(next(oldest))
            crowded.add()
            largest = max(largest, process.memory_info().rss)
            if time.monotonic() - last_scrape > SCRAPE_SECONDS:
                last_scrape = time.monotonic()
                with urllib.request.urlopen(f"http://127.0.0.1:{held.number}/metrics") as answer:
                    text = answer.read()
            time.sleep(max(0.0, 1.0 - (time.monotonic() - first - passed)))
        after = process.cpu_times()
        passed = time.monotonic() - first
        used = after.user + after.system - before.user - before.system
        peak = Path(f"/proc/{meter.pid}/status").read_text().partition("VmHWM:")[2].split()[0]
        rss = process.memory_info().rss
    finally:
        meter.send_signal(signal.SIGTERM)
        meter.wait(10)
    with open_ledger(url) as ledger:
        rows = len(ledger.usage())
    return {
        "pods": PODS,
        "rows": rows,
        "ready_seconds": ready,
        "millicores": 1000 * used / passed,
        "mebibytes": rss / 2**20,
        "largest_mebibytes": int(peak) / 2**10,
        "metrics_bytes": len(text),
    }


def started(url: str, port: int, log: Path) -> "subprocess.Popen[bytes]":
    """The meter with that ledger, on that port."""
    environment = {
        **os.environ,
        "TALLY_LEDGER_URL": url,
        "TALLY_METER_PORT": str(port),
        "TALLY_METER_METRICS_OPEN": "1",
        "TALLY_KUBELET_TLS": "insecure",
        "MALLOC_ARENA_MAX": "2",  # as its image sets it
    }
    with log.open("wb") as said:
        command = [sys.executable, "-m", "tally.meter"]
        return subprocess.Popen(command, env=environment, stderr=said)


def until_metered(meter: "subprocess.Popen[bytes]", url: str, began: float) -> float:
    """Seconds until the ledger has an open row of every pod."""
    while time.monotonic() - began < _READY_SECONDS:
        assert meter.poll() is None, f"the meter has ended with {meter.returncode}"
        with contextlib.suppress(Exception), open_ledger(url) as ledger:
            if len({row.pod_uid for row in ledger.open_usage("pod")}) >= PODS:
                return time.monotonic() - began
        time.sleep(0.5)
    raise AssertionError(f"expected {PODS} pods in the ledger after {_READY_SECONDS:.0f} s")


if __name__ == "__main__":
    sys.exit(main())
