"""A Prometheus beside the cluster that scrapes as one in it does: by manifests/prometheus, with its
account's rights and the meter's token; and what kubelets told it of pods, without the meter."""

import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from kubernetes.utils import parse_quantity

from helpers.cluster.metering import KUBELET_CERTIFICATE, MeterProcess
from helpers.cluster.objects import PROJECT, apply, path_of, until_true
from helpers.prometheus.discovered import (
    by_files,
    node_targets,
    pod_targets,
    selector,
    write_targets,
)
from helpers.prometheus.server import Prometheus, settings
from tally.kube.cluster import Cluster

KUBELET_SECONDS = 2
USD_PER_HOUR = 3.6  # of a node of the type `metered`, by the file that the meter is given
CORE, GIB = 0.031611, 0.004237  # weights of OpenCost
_OF = ("pod", "container")
_RBAC = "apis/rbac.authorization.k8s.io/v1"
_ACCOUNT = PROJECT / "manifests/prometheus/account.yaml"


@dataclass(frozen=True)
class Told:
    """What kubelets told of a pod.

    Attributes:
        start, end: of its first and its last sign of life, seconds UTC.
        cpu_core_seconds: used until then.
        memory_bytes: the most that it held.
    """

    start: float
    end: float
    cpu_core_seconds: float
    memory_bytes: float


def told_by_kubelets(prometheus: Prometheus, namespace: str) -> dict[str, Told]:
    """By pod's name, out of the samples as they were scraped, each with the kubelet's own time."""
    query = f'{{job="kubelets",namespace="{namespace}"}}[30m]'
    times: dict[str, list[float]] = defaultdict(list)
    most: dict[tuple[str, str], float] = defaultdict(float)
    for series in prometheus.get("query", query=query)["result"]:
        metric, pod = series["metric"]["__name__"], series["metric"]["pod"]
        times[pod] += [float(at) for at, _ in series["values"]]
        values = [float(value) for _, value in series["values"]]
        if metric == "container_start_time_seconds":
            times[pod] += values
        most[pod, metric] += max(values)  # of all containers together
    return {
        pod: Told(
            start=min(own),
            end=max(own),
            cpu_core_seconds=max(most[pod, f"{of}_cpu_usage_seconds_total"] for of in _OF),
            memory_bytes=max(most[pod, f"{of}_memory_working_set_bytes"] for of in _OF),
        )
        for pod, own in times.items()
    }


def beside(
    cluster: Cluster, namespace: str, folder: Path, meter: MeterProcess, meter_seconds: int
) -> Iterator[Prometheus]:
    """It has asked everybody once; ended, and its account taken away, when the test is over.

    Args:
        folder: for all that is its own; made anew.
        meter: has its namespace among its TALLY_METER_READERS.
        meter_seconds: so often it is asked; kubelets are every KUBELET_SECONDS.
    """
    folder.mkdir()
    shipped = settings()
    config = _settings(shipped, folder, meter_seconds)
    nodes = nodes_with_kubelet(cluster)
    kubelets = config["scrape_configs"][1]
    kubelets["tls_config"] = {"insecure_skip_verify": True}
    if KUBELET_CERTIFICATE.exists():  # it signs for itself, and for its name only
        (node,) = nodes
        name = node["metadata"]["name"]
        kubelets["tls_config"] = {"ca_file": str(KUBELET_CERTIFICATE), "server_name": name}
    write_targets(folder, "kubelets", node_targets(nodes))
    wanted = selector(shipped, "tally-meter")
    write_targets(folder, "tally-meter", pod_targets([_as_pod(meter, wanted)], wanted))
    made = _account(cluster, namespace)
    prometheus = Prometheus(folder, config)
    try:
        _write_token(cluster, namespace, folder / "token")
        _write_token(cluster, namespace, folder / "tally-token", audiences=["tally-meter"])
        prometheus.start()
        until_true(lambda: prometheus.value("count(up == 1)") == 2, 30)
        yield prometheus
    finally:
        prometheus.kill()
        for path in made:
            cluster.request("DELETE", path)


def _settings(shipped: dict[str, Any], folder: Path, meter_seconds: int) -> dict[str, Any]:
    """prometheus.yaml for here: the meter and kubelets, oftener, with tokens from `folder`."""
    config = by_files(shipped, folder)
    quick = f"{KUBELET_SECONDS}s"
    times = {"scrape_interval": quick, "scrape_timeout": quick, "evaluation_interval": quick}
    config["global"] |= times
    jobs = {job["job_name"]: job for job in config["scrape_configs"]}
    config["scrape_configs"] = [jobs["tally-meter"], jobs["kubelets"]]
    for job, token in (("tally-meter", "tally-token"), ("kubelets", "token")):
        jobs[job]["authorization"] = {"credentials_file": str(folder / token)}
    jobs["tally-meter"]["scrape_interval"] = f"{meter_seconds}s"
    return config


def nodes_with_kubelet(cluster: Cluster) -> list[Any]:
    """Real ones."""
    every = cluster.request("GET", path_of("Node"))["items"]
    return [node for node in every if node["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"]]


def _as_pod(meter: MeterProcess, wanted: str) -> dict[str, Any]:
    """The meter's process, as its pod would be found."""
    key, _, value = wanted.partition("=")
    port = {"name": "http", "containerPort": meter.port}
    return {
        "metadata": {"name": "meter", "namespace": "tally", "uid": "-", "labels": {key: value}},
        "spec": {"containers": [{"name": "meter", "ports": [port]}]},
        "status": {"podIP": "127.0.0.1", "phase": "Running"},
    }


def _account(cluster: Cluster, namespace: str) -> list[str]:
    """Prometheus's account and rights; where they are, of what is in no namespace."""
    made, name = [], f"tally-prometheus-{namespace}"
    for item in yaml.safe_load_all(_ACCOUNT.read_text()):
        if item["kind"] == "ServiceAccount":
            apply(cluster, item, namespace)
            continue
        item["metadata"]["name"] = name
        if item["kind"] == "ClusterRoleBinding":
            item["roleRef"]["name"] = name
            item["subjects"][0]["namespace"] = namespace
        path = f"{_RBAC}/{item['kind'].lower()}s"
        cluster.request("POST", path, item)
        made.append(f"{path}/{name}")
    return made


def _write_token(cluster: Cluster, namespace: str, path: Path, **spec: Any) -> None:
    account = f"{path_of('ServiceAccount', namespace)}/tally-prometheus/token"
    said = cluster.request("POST", account, {"spec": {"expirationSeconds": 3600, **spec}})
    path.touch(mode=0o600)
    path.write_text(said["status"]["token"])


def scrape_times(prometheus: Prometheus) -> list[float]:
    """When the meter was asked, seconds UTC."""
    found = prometheus.get("query", query='up{job="tally-meter"}[10m]')["result"]
    return [float(at) for one in found for at, _ in one["values"]]


def scraped_usd(prometheus: Prometheus, run_id: str) -> float | None:
    """What a run had cost in the last scrape; None where it was in none."""
    return prometheus.value(f'sum(tally_cost_usd_total{{run="{run_id}"}})')


def bill_from_prometheus(
    meter: MeterProcess, prometheus: Prometheus, run_id: str
) -> tuple[float, float]:
    """What `tally bill` says of the run: in Prometheus, in the ledger."""
    asked = ["bill", run_id, "--from-prometheus", prometheus.url, "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "tally", *asked],
        env={"TALLY_LEDGER_URL": meter.ledger_url, "HOME": str(meter.folder)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    total = json.loads(done.stdout)["total"]
    return total["prometheus_usd"], total["ledger_usd"]


def status_without_token(meter: MeterProcess) -> int:
    """Of /metrics."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{meter.port}/metrics", timeout=5) as said:
            return int(said.status)
    except urllib.error.HTTPError as error:
        return error.code


def amount(asked: list[dict[str, str]], resource: str) -> float:
    """Cores or bytes of all containers together."""
    return float(sum(parse_quantity(one[resource]) for one in asked))


def usd_per_second(node: dict[str, Any], asked: list[dict[str, str]]) -> float:
    """Its part of the node's price, by OpenCost's rule."""

    def weight(amounts: list[dict[str, str]]) -> float:
        return amount(amounts, "cpu") * CORE + amount(amounts, "memory") / 2**30 * GIB

    return USD_PER_HOUR / 3600 * weight(asked) / weight([node["status"]["capacity"]])
