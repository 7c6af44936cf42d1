"""What Kubeflow Pipelines 2.17's manifests leave in a cluster, as far as runs meet it."""

import contextlib
from collections.abc import Iterator
from urllib.parse import urlsplit

from helpers.cluster.kubeflow import ACCOUNT, NAMESPACE
from helpers.cluster.objects import apply, path_of, until_true
from helpers.cluster.pipeline_pods import make_launcher
from helpers.cluster.training_pods import Store
from tally.kube.cluster import Cluster, Refused

PEOPLE = "default-editor"
_SECRET = "mlpipeline-minio-artifact"
# what a step's account may do, checked from inside one
_RUNNER = [
    {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["*"]},
    {"apiGroups": [""], "resources": ["pods", "pods/log", "services"], "verbs": ["*"]},
    {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]},
    {"apiGroups": ["argoproj.io"], "resources": ["workflows"], "verbs": ["get", "list"]},
]
_PEOPLE = [
    {"apiGroups": ["argoproj.io"], "resources": ["workflows"], "verbs": ["*"]},
    {"apiGroups": [""], "resources": ["pods", "pods/log"], "verbs": ["get", "list", "watch"]},
    {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["get", "list", "delete"]},
]
PORTS = {"http-iam": 9000, "http-s3": 8333}


@contextlib.contextmanager
def installed(cluster: Cluster, store: Store) -> Iterator[None]:
    """The namespace with its accounts, and its object store behind Service seaweedfs."""
    apply(cluster, {"kind": "Namespace", "metadata": {"name": NAMESPACE}})
    try:
        for account, rules in {ACCOUNT: _RUNNER, PEOPLE: _PEOPLE}.items():
            named = {"metadata": {"name": account}}
            apply(cluster, {"kind": "ServiceAccount", **named}, NAMESPACE)
            apply(cluster, {"kind": "Role", **named, "rules": rules}, NAMESPACE)
            role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": account}
            whose = [{"kind": "ServiceAccount", "name": account, "namespace": NAMESPACE}]
            bound = {"kind": "RoleBinding", **named, "roleRef": role, "subjects": whose}
            apply(cluster, bound, NAMESPACE)
        keys = dict.fromkeys(("accesskey", "secretkey"), "tests")
        secret = {"kind": "Secret", "metadata": {"name": _SECRET}, "stringData": keys}
        apply(cluster, secret, NAMESPACE)
        _seaweedfs(cluster, store)
        make_launcher(cluster, NAMESPACE)
        yield
    finally:
        path = f"{path_of('Namespace')}/{NAMESPACE}"
        cluster.request("DELETE", path)
        until_true(lambda: _gone(cluster, path), 90)


def _seaweedfs(cluster: Cluster, store: Store) -> None:
    where = urlsplit(store.endpoint)
    ports = [{"name": name, "port": port, "targetPort": where.port} for name, port in PORTS.items()]
    named = {"metadata": {"name": "seaweedfs"}}
    apply(cluster, {"kind": "Service", **named, "spec": {"ports": ports}}, NAMESPACE)
    subset = {
        "addresses": [{"ip": where.hostname}],
        "ports": [{"name": name, "port": where.port} for name in PORTS],
    }
    path = f"api/v1/namespaces/{NAMESPACE}/endpoints"
    cluster.request("POST", path, {**named, "subsets": [subset]})


def _gone(cluster: Cluster, path: str) -> bool:
    try:
        cluster.request("GET", path)
    except Refused as error:
        return error.status == 404
    return False
