"""Who sees another namespace's runs: whom the real API server lets get its Workflows."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from test_meter_api import account, client_of, known_run, status_of, token

from helpers.cluster.metering import make_pod, step_pod
from helpers.cluster.objects import apply, path_of, until_true
from tally.kube.cluster import Cluster
from tally.meter.asking import KEPT_SECONDS, REFUSED_KEPT_SECONDS

Make = Callable[..., Any]


def test_a_rolebinding_lets_another_namespaces_account_see_runs_for_as_long_as_it_is_there(
    cluster: Cluster, namespace: str, meter_of: Make, spec: Make, tmp_path: Path
) -> None:
    meter = meter_of()
    meter.start()
    run_id, other = spec().run_id, f"{namespace}-other"
    apply(cluster, {"kind": "Namespace", "metadata": {"name": other}})
    try:
        account(cluster, other, "colleague")
        pod = step_pod("step", "time.sleep(1)", labels={"pipeline/runid": run_id})
        make_pod(cluster, namespace, pod)
        known_run(meter, run_id)
        client = client_of(meter, tmp_path, token(cluster, other, "colleague"))

        def status() -> int:
            return status_of(lambda: client.bill(run_id))

        def listed() -> bool:
            return run_id in [run.id for run, _ in client.runs()]

        assert status() == 403 and not listed()
        rule = {"apiGroups": ["argoproj.io"], "resources": ["workflows"], "verbs": ["get", "list"]}
        role = {"kind": "Role", "metadata": {"name": "see"}, "rules": [rule]}
        apply(cluster, role, namespace)
        binding = {
            "kind": "RoleBinding",
            "metadata": {"name": "see"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "see"},
            "subjects": [{"kind": "ServiceAccount", "name": "colleague", "namespace": other}],
        }
        apply(cluster, binding, namespace)
        began = time.monotonic()
        until_true(lambda: status() == 200 and listed(), REFUSED_KEPT_SECONDS + 5)
        print(f"seen {time.monotonic() - began:.1f} s after it was allowed")
        assert status_of(lambda: client.post_events(run_id, [])) == 404  # it reads, and no more
        cluster.request("DELETE", f"{path_of('RoleBinding', namespace)}/see")
        began = time.monotonic()
        until_true(lambda: status() == 403 and not listed(), KEPT_SECONDS + 5)
        print(f"refused {time.monotonic() - began:.1f} s after it was taken away")
        assert meter.health()["notices"] == []
    finally:
        cluster.request("DELETE", f"api/v1/namespaces/{other}")
    meter.stop()
