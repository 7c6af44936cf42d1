"""doctor against an API server: the Service and the Secret of the store that pods will have."""

from typing import Any

import pytest

from helpers.kubernetes_standin import ApiServer, Lines

SERVICES, SECRETS = "/api/v1/namespaces/kubeflow/services", "/api/v1/namespaces/{}/secrets"
SECRET = "of-the-store"
KEYS = {"accesskey": SECRET, "secretkey": SECRET}
REMEDY = "set TALLY_STORE and AWS_ENDPOINT_URL to a bucket that pods reach"


def serve(api: ApiServer, name: str, *ports: int) -> None:
    service: dict[str, Any] = {"spec": {"ports": [{"port": port} for port in ports]}}
    api.objects[f"{SERVICES}/{name}"] = service


def put_secret(api: ApiServer, name: str, namespace: str = "kubeflow", **data: str) -> None:
    api.objects[f"{SECRETS.format(namespace)}/{name}"] = {"data": data}


def test_a_kubeflow_without_any_store_is_something_missing(api: ApiServer, lines: Lines) -> None:
    assert lines("store's Service") == [
        "missing  store's Service: neither kubeflow/seaweedfs nor kubeflow/minio-service is there; "
        + REMEDY
    ]


@pytest.mark.parametrize(
    ("services", "line"),
    [
        pytest.param(
            {"seaweedfs": (8333, 9000)},
            "ok       store's Service: kubeflow/seaweedfs, port 8333",
            id="2.17",
        ),
        pytest.param(
            {"minio-service": (9000,)},
            "ok       store's Service: kubeflow/minio-service, port 9000",
            id="2.15",
        ),
        pytest.param(
            {"seaweedfs": (8333,), "minio-service": (9000,)},
            "ok       store's Service: kubeflow/seaweedfs, port 8333 (kubeflow/minio-service as "
            "well)",
            id="both",
        ),
        pytest.param(
            {"seaweedfs": (9333,)},
            f"missing  store's Service: kubeflow/seaweedfs has no port 8333; {REMEDY}",
            id="another port",
        ),
    ],
)
def test_the_service_that_steps_will_take(
    api: ApiServer, lines: Lines, services: dict[str, tuple[int, ...]], line: str
) -> None:
    for name, ports in services.items():
        serve(api, name, *ports)
    assert lines("store's Service") == [line]


def test_a_store_of_ones_own_is_none_of_kubeflows_services(lines: Lines) -> None:
    assert not lines("store's", TALLY_STORE="s3://ours/tally")
    assert not lines("store's Service", AWS_ENDPOINT_URL="http://objects.kubeflow:80")


def test_the_secret_is_looked_for_where_pods_are(api: ApiServer, lines: Lines) -> None:
    name = "mlpipeline-minio-artifact"
    put_secret(api, name, **KEYS)
    assert lines("store's Secret") == [f"ok       store's Secret: kubeflow/{name}"]
    (line,) = lines("store's Secret", KFP_NAMESPACE="team-a")
    assert line.startswith(f"missing  store's Secret: team-a/{name} is not there; create it in te")
    put_secret(api, "mine", "team-a", accesskey=SECRET)
    own = {"TALLY_STORE": "s3://ours", "TALLY_STORE_SECRET": "mine", "KFP_NAMESPACE": "team-a"}
    (line,) = lines("store's Secret", **own)
    assert line.startswith("missing  store's Secret: team-a/mine has no secretkey; create it")
    assert SECRET not in " ".join(lines(**own))


def test_what_may_not_be_looked_at_is_said(api: ApiServer, lines: Lines) -> None:
    name = "mlpipeline-minio-artifact"
    api.forbidden = {f"{SERVICES}/seaweedfs", f"{SECRETS.format('kubeflow')}/{name}"}
    assert lines("store's") == [
        "optional  store's Service: not looked at, as you may not get Services of kubeflow; let an "
        "administrator run doctor",
        "optional  store's Secret: not looked at, as you may not get Secrets of kubeflow; let an "
        "administrator run doctor",
    ]


def test_an_api_server_that_hangs_on_it_hides_no_other(api: ApiServer, lines: Lines) -> None:
    api.hanging = {f"{SERVICES}/seaweedfs"}
    found = lines(seconds=1.0)
    assert any(line.startswith("missing  store's Service: no end within 1 s") for line in found)
    assert any(line.startswith("missing  store's Secret: kubeflow/") for line in found)


def test_bad_settings_have_their_line_and_no_other(lines: Lines) -> None:
    found = lines("", TALLY_STORE="ftp://a/b")
    assert not any("store's" in line for line in found)
    assert any(line.startswith("missing  settings: TALLY_STORE") for line in found)
