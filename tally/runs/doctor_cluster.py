"""What doctor looks at of a cluster: Kubeflow Pipelines, Kubernetes, what stands beside them."""

import importlib.metadata
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tally import content
from tally.kube.here import in_cluster
from tally.runs import doctor_services
from tally.runs.finding import SECONDS, Check, Finding, looked

if TYPE_CHECKING:
    from tally.kube.cluster import Cluster

_SECONDS = 4.0


def findings(
    environment: Mapping[str, str] = os.environ, seconds: float = SECONDS, *, probe: bool = False
) -> Iterator[Finding]:
    """Look at everything that the environment names, all at once; one line where it names nothing.

    Args:
        environment: KFP_HOST and so on, KUBECONFIG, TALLY_METER_URL, TALLY_PROMETHEUS, TALLY_STORE.
        seconds: for Kubernetes to answer, then for everything together.
        probe: then make a pod that looks at the store from inside; it has a minute of its own.
    """
    reached: list[Cluster] = []
    checks = doctor_services.checks(environment)
    kubeflow, kubernetes = bool(environment.get("KFP_HOST", "").strip()), _is_known(environment)
    if kubeflow or kubernetes:
        checks.insert(0, Check("settings", lambda: settings_of_pods(environment)))
    if kubeflow:
        checks.insert(0, Check("Kubeflow Pipelines", lambda: kubeflow_pipelines(environment)))
    if kubernetes:
        yield from looked([Check("Kubernetes", lambda: _reach(reached, environment))], seconds)
        if reached:
            from tally.runs import doctor_kubernetes, doctor_store

            checks += doctor_kubernetes.checks(reached[0], environment)
            checks += doctor_store.checks(reached[0], environment)
    elif kubeflow:
        remedy = "set KUBECONFIG to have rights, nodes and images looked at"
        yield Finding("Kubernetes", False, "no kubeconfig", remedy, needed=False)
    else:
        remedy = "set KFP_HOST to submit to one, KUBECONFIG to have it looked at"
        yield Finding("cluster", False, "no KFP_HOST and no kubeconfig", remedy, needed=False)
    yield from looked(checks, seconds)
    if probe and reached:
        from tally.runs import doctor_probe

        yield from doctor_probe.findings(reached[0], environment)
    elif probe:
        yield Finding("probe", False, "no Kubernetes to make a pod in", "set KUBECONFIG")


def _is_known(environment: Mapping[str, str]) -> bool:
    """Whether something says where Kubernetes is, rightly or not."""
    if in_cluster(environment):
        return True
    if "KUBECONFIG" in environment:
        return bool(environment["KUBECONFIG"])
    return (Path(environment.get("HOME", "/")) / ".kube" / "config").is_file()


def _reach(reached: "list[Cluster]", environment: Mapping[str, str]) -> Iterator[Finding]:
    """The cluster, where it answers and takes the credentials, and its version."""
    from tally.kube.cluster import Cluster, Refused
    from tally.runs.doctor_kubernetes import version

    cluster = Cluster(None if in_cluster(environment) else environment.get("KUBECONFIG"))
    try:
        found = version(cluster)
    except Refused as error:
        if error.status != 403:
            raise
        remedy = "let an administrator run doctor"
        found = Finding("Kubernetes", False, "does not tell its version", remedy, needed=False)
    reached.append(cluster)
    yield found


def kubeflow_pipelines(environment: Mapping[str, str]) -> Iterator[Finding]:
    """Whether KFP_HOST answers, which versions there are, and whether it takes the credentials."""
    from tally.runs.kubeflow.connection import connect
    from tally.runs.kubeflow.settings import settings

    yield _client()
    connection = connect(settings(environment))
    health = connection.request("GET", "healthz", seconds=_SECONDS)
    version = str(health.get("tag_name") or "unknown")
    users = "several users" if connection.multi_user else "one user"
    found = f"{connection.settings.host} answers, version {version}, {users}"
    yield Finding("Kubeflow Pipelines", True, found, "")
    if _minor(version) < _minor(importlib.metadata.version("kfp")):
        remedy = "upgrade the server should it refuse a compiled pipeline"
        found = f"{version}, older than the client"
        yield Finding("version of Kubeflow Pipelines", False, found, remedy, needed=False)
    what, query = "list experiments", {"page_size": "1", "namespace": connection.namespace}
    connection.request("GET", "experiments", query=query, what=what, seconds=_SECONDS)
    where = f" in namespace {connection.namespace}" if connection.namespace else ""
    yield Finding("credentials", True, f"{connection.settings.who()}{where}", "")


def _client() -> Finding:
    """kfp's version against that of the lock, with which Tally is tested."""
    here = importlib.metadata.version("kfp")
    try:
        lock = (content.PROJECT / content.LOCK).read_text(encoding="utf-8")
    except OSError:
        lock = ""
    wanted = re.search(r"^kfp==([\w.]+)", lock, re.MULTILINE)
    good = wanted is None or wanted[1] == here
    found = here if good or wanted is None else f"{here}, and {content.LOCK} has {wanted[1]}"
    return Finding("kfp client", good, found, "remove .venv and run make again", needed=False)


def _minor(version: str) -> tuple[int, int]:
    """(2, 17) of "2.17.0"; a server that does not tell is newer than any."""
    found = re.match(r"v?(\d+)\.(\d+)", version)
    return (int(found[1]), int(found[2])) if found else (10**6, 0)


def settings_of_pods(environment: Mapping[str, str]) -> Iterator[Finding]:
    """Whether the settings that go into compiled pipelines can be right."""
    from tally.runs.placement import placement

    placed = placement(environment)
    store = placed.environment["TALLY_STORE"]
    own = "" if environment.get("TALLY_STORE", "").strip() else ", Kubeflow's own"
    yield Finding("settings", True, f"pods keep what lasts in {store}{own}", "")
