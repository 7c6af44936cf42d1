"""doctor against Kubeflow's recorded answers, a real meter, a real Prometheus, an object store."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from helpers.contract.replay import Replay, serving
from helpers.prometheus.server import Prometheus, wait_until
from helpers.served_meter import served_meter, token_of
from tally.runs import doctor_cluster, doctor_services
from tally.runs.kubeflow import connection

SECRET = "very-secret-token"


def lines(what: str = "", **environment: str) -> list[str]:
    """What doctor says, or of it the lines about one thing; never a secret."""
    given = {"KUBECONFIG": "", "HOME": "/nowhere", **environment}
    found = [one.line() for one in doctor_cluster.findings(given)]
    assert not any(SECRET in line for line in found)
    return [line for line in found if not what or line.partition(": ")[0].endswith(f"  {what}")]


@pytest.fixture
def replay() -> Iterator[Replay]:
    with serving(Replay()) as server:
        yield server


def test_kubeflow_pipelines_that_answers(replay: Replay) -> None:
    found = lines(KFP_HOST=replay.host)
    assert f"ok       Kubeflow Pipelines: {replay.host} answers, version unknown, one user" in found
    assert "ok       credentials: nobody (no token)" in found
    assert any(line.startswith("ok       kfp client: 2.") for line in found)
    assert any(
        line.startswith("ok       settings: pods keep what lasts in s3://") for line in found
    )


@pytest.mark.parametrize(
    "server, environment, begins",
    [
        pytest.param(
            {"tokens": {"another"}}, {"KFP_TOKEN": SECRET},
            "Kubeflow Pipelines: Kubeflow: expected to reach {host}, got 401", id="token",
        ),
        pytest.param(
            {"multi_user": True}, {}, "Kubeflow Pipelines: KFP_NAMESPACE: expected", id="namespace"
        ),
        pytest.param(
            {"faults": {"GET experiments": ["403"]}}, {},
            "Kubeflow Pipelines: Kubeflow: expected to list experiments, got 403", id="no rights",
        ),
        pytest.param(
            {}, {"KFP_HOST": "http://127.0.0.1:1"},
            "Kubeflow Pipelines: KFP_HOST: expected Kubeflow Pipelines at http://127.0.0.1:1",
            id="nobody there",
        ),
        pytest.param(
            {}, {"KFP_HOST": f"http://me:{SECRET}@127.0.0.1:1"},
            "Kubeflow Pipelines: KFP_HOST: expected an address", id="user in the address",
        ),
    ],
)  # fmt: skip
def test_kubeflow_pipelines_that_does_not_let_us(
    replay: Replay, monkeypatch: pytest.MonkeyPatch, server: dict[str, Any],
    environment: dict[str, str], begins: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(connection, "FIRST_SECONDS", 0.5)
    for name, value in server.items():
        setattr(replay, name, value)
    found = [
        line for line in lines(**{"KFP_HOST": replay.host, **environment}) if "missing" in line
    ]
    assert len(found) == 1, found
    assert found[0].startswith(f"missing  {begins.format(host=replay.host)}")


def test_as_whom_in_a_profile(replay: Replay) -> None:
    replay.multi_user, replay.tokens = True, {SECRET}
    environment = {"KFP_HOST": replay.host, "KFP_TOKEN": SECRET, "KFP_NAMESPACE": "team-a"}
    assert lines("credentials", **environment) == [
        "ok       credentials: the token of KFP_TOKEN in namespace team-a"
    ]


def test_a_server_older_than_the_client_is_said(
    replay: Replay, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Replay._do

    def older(self: Replay, route: str, *others: Any) -> tuple[int, Any]:
        status, said = real(self, route, *others)
        return status, {**said, "tag_name": "2.5.0"} if route == "GET healthz" else said

    monkeypatch.setattr(Replay, "_do", older)
    (line,) = lines("version of Kubeflow Pipelines", KFP_HOST=replay.host)
    assert line.startswith("optional  version of Kubeflow Pipelines: 2.5.0, older than the client")


def test_the_meter_and_its_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    token = tmp_path / "token"
    token.write_text(token_of("team-a"))
    with served_meter(tmp_path, monkeypatch) as meter:
        environment = {"TALLY_METER_URL": meter.url, "TALLY_METER_TOKEN_FILE": str(token)}
        assert lines("meter", **environment) == [f"ok       meter: {meter.url} is well"]
        assert lines("meter's token", **environment) == ["ok       meter's token: taken"]
        token.write_text("garbage.x.y")
        (line,) = lines("meter's token", **environment)
        assert line.startswith("optional  meter's token: ")
        (line,) = lines("meter's token", TALLY_METER_URL=meter.url)
        assert line.startswith("optional  meter's token: TALLY_METER_TOKEN_FILE: expected")
        meter.health.problem("ledger", "expected room, got a full disk")
        (line,) = lines("meter", **environment)
        assert line == (
            f"missing  meter: {meter.url} says ledger: expected room, got a full disk; see its log"
        )
    (line,) = lines("meter", **environment)
    assert line.startswith(f"missing  meter: {meter.url}/healthz: ") and "TALLY_METER_URL" in line


def test_another_server_at_the_meters_address(replay: Replay) -> None:
    (line,) = lines("meter", TALLY_METER_URL=replay.host)
    assert line.startswith(
        f"missing  meter: {replay.host}/healthz: another server's answer; correct"
    )


@pytest.fixture
def target() -> Iterator[ThreadingHTTPServer]:
    """Something that Prometheus can scrape."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(b"tally_cost_usd_total 1\n")

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join(10)


@pytest.mark.slow
@pytest.mark.program("prometheus")
def test_prometheus_scrapes_the_meter_or_not(
    target: ThreadingHTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = f"127.0.0.1:{target.server_address[1]}"
    job = {"job_name": "tally-meter", "static_configs": [{"targets": [where]}]}
    quick = {"scrape_interval": "1s", "scrape_timeout": "1s"}
    config = {"global": quick, "rule_files": [], "scrape_configs": [job]}
    prometheus = Prometheus(tmp_path, config)

    def until(up: str) -> None:
        def so() -> bool:
            found = prometheus.get("query", query="up")["result"]
            return bool(found) and found[0]["value"][1] == up

        wait_until(so, 30)

    prometheus.start()
    try:
        until("1")
        (line,) = lines("Prometheus", TALLY_PROMETHEUS=prometheus.url)
        assert line == f"ok       Prometheus: scrapes the meter at {where}"
        target.shutdown()
        target.server_close()
        until("0")
        (line,) = lines("Prometheus", TALLY_PROMETHEUS=prometheus.url)
        assert f"cannot scrape the meter at {where}; its page Status, Targets" in line
        monkeypatch.setattr(doctor_services, "_METER_JOB", "another")
        (line,) = lines("Prometheus", TALLY_PROMETHEUS=prometheus.url)
        assert f"{prometheus.url} has no target of the job another; take over" in line
    finally:
        prometheus.kill()


def test_no_prometheus_is_said_without_its_password(replay: Replay) -> None:
    for url, why in (
        (f"http://me:{SECRET}@127.0.0.1:1", "refused"),
        (f"http://me:{SECRET}@127.0.0.1:port", "Failed to parse: "),
        (replay.host, "HTTP 404"),
    ):
        (line,) = lines("Prometheus", TALLY_PROMETHEUS=url)
        assert line.startswith("missing  Prometheus: http://") and why in line
        assert SECRET not in line
        assert line.endswith("correct TALLY_PROMETHEUS, or forward its port with kubectl")


@pytest.fixture
def objects(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An S3 server with the bucket `there`; its address is in the environment."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in (
        ("AWS_ENDPOINT_URL", f"http://{host}:{port}"),
        ("AWS_ACCESS_KEY_ID", "k"),
        ("AWS_SECRET_ACCESS_KEY", SECRET),
        ("AWS_REGION", "us-east-1"),
    ):
        monkeypatch.setenv(name, value)
    boto3.client("s3", endpoint_url=f"http://{host}:{port}").create_bucket(Bucket="there")
    yield
    server.stop()


@pytest.mark.usefixtures("objects")
def test_the_store_is_listed_with_the_credentials_here() -> None:
    given = {"AWS_ACCESS_KEY_ID": "k"}
    (line,) = lines("store", TALLY_STORE="s3://there/tally", **given)
    assert line == "ok       store: s3://there/tally can be listed"
    (line,) = lines("store", TALLY_STORE="s3://gone/tally", **given)
    assert line.startswith("missing  store: s3://gone/tally/doctor: expected")
    (line,) = lines("store", TALLY_STORE="s3://there/tally")
    assert line.startswith("optional  store: s3://there/tally not tried")
    elsewhere = {**given, "AWS_ENDPOINT_URL": "http://objects.invalid:9000"}
    (line,) = lines("store", TALLY_STORE="s3://there/tally", **elsewhere)
    assert line.startswith("optional  store: s3://there/tally not tried, as objects.invalid has no")


def test_a_store_that_is_a_folder(tmp_path: Path) -> None:
    assert lines("store", TALLY_STORE=str(tmp_path)) == [f"ok       store: {tmp_path}"]
