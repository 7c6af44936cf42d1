"""`tally connect` against an API server, Kubeflow's recorded answers and a real meter."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers.contract.done import Done, one_line
from helpers.contract.replay import Replay, serving
from helpers.kubernetes_standin import ApiServer
from helpers.metered_runs import HOUR, NOON, life, node, run
from helpers.ports import HeldPort
from helpers.served_meter import Meter, served_meter
from tally.runs import connected
from tally.runs.kubeflow import watching

Called = Callable[..., Done]
pytestmark = pytest.mark.usefixtures("kubeconfig")


@pytest.fixture
def replay() -> Iterator[Replay]:
    with serving(Replay()) as server:
        yield server


@pytest.fixture
def meter(api: ApiServer, kubeconfig: Path, tmp_path: Path) -> Iterator[Meter]:
    """A meter of the same API server."""
    (folder := tmp_path / "meter").mkdir()
    with pytest.MonkeyPatch.context() as patched, served_meter(folder, patched) as served:
        patched.undo()
        api.reviewed = served.reviews.reviewed
        yield served


def serve(
    api: ApiServer, namespace: str, name: str, label: str, port: int, lead: bool = True
) -> None:
    """A Service with this port, to which a balancer at this machine leads, or nothing."""
    there: dict[str, Any] = {
        "metadata": {"name": name, "namespace": namespace, "labels": dict([label.split("=")])},
        "spec": {"ports": [{"port": port}]},
        "status": {"loadBalancer": {"ingress": [{"ip": "127.0.0.1"}]} if lead else {}},
    }
    api.objects.setdefault("/api/v1/services", []).append(there)
    api.objects[f"/api/v1/namespaces/{namespace}/services/{name}"] = there


def serve_ui(api: ApiServer, port: int, lead: bool = True) -> None:
    serve(api, "kubeflow", "ml-pipeline-ui", "app=ml-pipeline-ui", port, lead)


def serve_meter(api: ApiServer, port: int, lead: bool = True, namespace: str = "tally") -> None:
    label = "app.kubernetes.io/name=tally-meter"
    serve(api, namespace, "tally-meter", label, port, lead)


MACHINES = """
machine_types:
  our-box:
    list_price_usd_per_hour: 1.9
    software_usd_per_hour: 0
    discount_percent: 0
    value_of_hour_usd: 1
    source: this test
    date: 2026-12-01
"""


def serve_machines(api: ApiServer, text: str = MACHINES) -> None:
    path = "/api/v1/namespaces/kubeflow/configmaps/tally-machines"
    api.objects[path] = {"data": {"machines.yaml": text}}


def serve_store(api: ApiServer) -> None:
    """And the machine types that the overlay brings."""
    path = "/api/v1/namespaces/kubeflow/{}"
    api.objects[path.format("services/seaweedfs")] = {"spec": {"ports": [{"port": 8333}]}}
    keys = {"accesskey": "", "secretkey": ""}
    api.objects[path.format("secrets/mlpipeline-minio-artifact")] = {"data": keys}
    serve_machines(api)


def bad(done: Done) -> list[str]:
    return [line for line in done.out.splitlines() if not line.startswith("ok ")]


def test_from_a_kubeconfig_to_all_that_commands_ask_for(
    api: ApiServer, called: Called, replay: Replay, meter: Meter, kubeconfig: Path, tally_home: Path
) -> None:
    serve_ui(api, replay.port)
    serve_meter(api, meter.port)
    serve_store(api)
    done = called("connect")
    assert (done.code, bad(done)) == (0, []), done.out + done.err
    for line in (
        "ok       machine types: our-box of ConfigMap kubeflow/tally-machines, kept in "
        f"{tally_home}/machines",
        f"ok       Kubeflow Pipelines: {replay.host} answers, version unknown, one user",
        f"ok       meter: {meter.url} is well",
        "ok       meter's token: taken",
        "ok       store's Service: kubeflow/seaweedfs, port 8333",
        f"ok       connection: kept in {tally_home}/connection.json",
    ):
        assert line in done.out.splitlines()
    text = connected.file().read_text()
    assert json.loads(text) == {
        "schema": 1,
        "context": "x",
        "settings": {
            "KUBECONFIG": str(kubeconfig),
            "KFP_HOST": replay.host,
            "KFP_NAMESPACE": "kubeflow",
            "TALLY_METER_URL": meter.url,
            "TALLY_METER_TOKEN_FILE": str(tally_home / "meter-token"),
            "TALLY_POD_METER_URL": f"http://tally-meter.tally.svc:{meter.port}",
            "TALLY_MACHINES": str(tally_home / "machines"),
        },
    }
    (token,) = api.tokens
    assert token == (tally_home / "meter-token").read_text() == "good.kubeflow.pipeline-runner"
    assert token not in text + done.out + done.err

    api.write_kubeconfig(kubeconfig, "elsewhere")  # the next token is of the same account
    assert called("token").out.endswith(f" UTC, in {tally_home}/meter-token\n")
    assert api.tokens == [token, token]

    replay.seen.clear()
    assert called("runs", "--json").code == 0
    assert replay.seen["GET runs"] == 1
    assert meter.reviews.asked[-1] == token


def test_machine_types_are_the_clusters_own_whole_or_not_at_all(
    api: ApiServer, called: Called, tally_home: Path
) -> None:
    kept = tally_home / "machines/machines.yaml"
    lines = called("connect").out.splitlines()
    assert (
        "optional  machine types: no ConfigMap kubeflow/tally-machines that one may get; where "
        "there are types of its own, name a copy of them in TALLY_MACHINES"
    ) in lines
    serve_machines(api)
    called("connect")
    assert kept.read_text() == MACHINES
    for damaged in (MACHINES.replace("1.9", "much"), "machine_types: [", MACHINES * 2):
        serve_machines(api, damaged)
        (line,) = (one for one in called("connect").out.splitlines() if "machine types" in one)
        assert line.startswith("missing  machine types of ConfigMap kubeflow/tally-machines: ")
        assert kept.read_text() == MACHINES  # the last one that was good


def test_where_nothing_leads_there_it_says_the_command_that_does(
    api: ApiServer, called: Called
) -> None:
    serve_ui(api, 80, lead=False)
    serve_meter(api, 8080, lead=False)
    serve_store(api)
    done = called("connect")
    assert done.code == 1
    assert bad(done) == [
        "missing  Kubeflow Pipelines: kubeflow/ml-pipeline-ui: no address outside the cluster; "
        "kubectl port-forward -n kubeflow service/ml-pipeline-ui 8081:80, then make connect again "
        "with KFP_HOST=http://127.0.0.1:8081",
        "missing  meter: tally/tally-meter: no address outside the cluster; kubectl port-forward "
        "-n tally service/tally-meter 8080:8080, then make connect again with "
        "METER_URL=http://127.0.0.1:8080",
    ]
    kept = connected.kept()
    assert kept and kept.settings["TALLY_POD_METER_URL"] == "http://tally-meter.tally.svc:8080"


def test_addresses_that_are_given_are_taken(
    api: ApiServer, called: Called, replay: Replay, meter: Meter
) -> None:
    serve_ui(api, 80, lead=False)
    serve_meter(api, 8080, lead=False)
    serve_store(api)
    done = called("connect", "--meter-url", meter.url, KFP_HOST=replay.host)
    assert (done.code, bad(done)) == (0, []), done.out
    kept = connected.kept()
    assert kept and kept.settings["TALLY_METER_URL"] == meter.url
    assert kept.settings["KFP_HOST"] == replay.host


def test_an_address_where_nobody_answers_is_not_taken(api: ApiServer, called: Called) -> None:
    with HeldPort() as held:
        url = f"http://127.0.0.1:{held.number}"
        serve_meter(api, held.number)
        done = called("connect")
    assert f"tally/tally-meter: none of {url} answers; kubectl" in done.out
    kept = connected.kept()
    assert kept and "TALLY_METER_URL" not in kept.settings


def test_another_server_is_neither_kubeflow_nor_a_meter(
    api: ApiServer, called: Called, replay: Replay, meter: Meter
) -> None:
    serve_ui(api, meter.port)
    serve_meter(api, replay.port)
    done = called("connect")
    assert f"kubeflow/ml-pipeline-ui: none of {meter.url} answers" in done.out
    assert f"tally/tally-meter: none of {replay.host} answers" in done.out


def test_a_cluster_without_tally_and_kubeflow_has_a_remedy_a_line(
    api: ApiServer, called: Called
) -> None:
    done = called("connect")
    assert done.code == 1
    found = "\n".join(bad(done))
    assert (
        "no Service ml-pipeline-ui; install Kubeflow Pipelines, or make connect KFP_HOST=" in found
    )
    assert "no Service tally-meter; make deploy OVERLAY=kubeflow" in found
    assert "neither kubeflow/seaweedfs nor kubeflow/minio-service is there" in found


def test_who_may_not_look_everywhere_finds_it_where_it_usually_is(
    api: ApiServer, called: Called, replay: Replay, meter: Meter
) -> None:
    api.forbidden = {"/api/v1/services"}
    serve_ui(api, replay.port)
    serve_meter(api, meter.port)
    serve_store(api)
    assert bad(called("connect")) == []


def test_a_meter_in_another_namespace_is_told_of_and_sent_nothing(
    api: ApiServer, called: Called, meter: Meter
) -> None:
    serve_meter(api, meter.port, namespace="aaa")  # anybody can have one of that name
    assert (
        "missing  meter's Service: no Service tally-meter in tally, but aaa/tally-meter; if that "
        "is yours: make connect METER_URL=… TALLY_POD_METER_URL=…\n"
    ) in called("connect").out
    kept = connected.kept()
    assert kept and not [name for name in kept.settings if "METER" in name]
    assert not api.tokens and not meter.reviews.asked


def test_in_an_installation_of_several_users_the_contexts_namespace_is_the_profile(
    api: ApiServer, called: Called, replay: Replay, meter: Meter, kubeconfig: Path
) -> None:
    replay.multi_user = True
    api.make_namespace("team-a", "default-editor")
    api.write_kubeconfig(kubeconfig, "team-a")
    serve_ui(api, replay.port)
    serve_meter(api, meter.port)
    called("connect")
    kept = connected.kept()
    assert kept and kept.settings["KFP_NAMESPACE"] == "team-a"
    assert api.tokens == ["good.team-a.default-editor"]


def test_a_secret_of_the_environment_is_not_kept(
    api: ApiServer, called: Called, replay: Replay
) -> None:
    replay.tokens = {"Bearer very-secret", "very-secret"}
    done = called("connect", KFP_HOST=replay.host, KFP_TOKEN="very-secret")
    assert "optional  KFP_TOKEN: a secret, which is not kept" in done.out
    assert "very-secret" not in done.out + done.err + connected.file().read_text()


@pytest.mark.parametrize(
    "name", ["KFP_HOST", "METER_URL", "TALLY_METER_URL", "TALLY_POD_METER_URL"]
)
def test_an_address_with_a_password_is_neither_shown_nor_kept(called: Called, name: str) -> None:
    done = called("connect", **{name: "http://me:very-secret@meter.example"})
    one_line(done, 2, name.removeprefix("TALLY_"))
    assert connected.kept() is None
    assert "very-secret" not in done.err


def test_a_token_that_is_refused_has_a_line_and_the_rest_is_kept(
    api: ApiServer, called: Called, meter: Meter
) -> None:
    api.forbidden = {"token"}
    serve_meter(api, meter.port)
    done = called("connect")
    assert "missing  token: token: expected the right to create serviceaccounts/token" in done.out
    kept = connected.kept()
    assert kept and kept.settings["TALLY_METER_URL"] == meter.url
    assert "TALLY_METER_TOKEN_FILE" not in kept.settings


def test_connecting_again_asks_the_environment_and_not_what_was_kept(
    api: ApiServer, called: Called
) -> None:
    connected.keep(connected.Connection({"KFP_HOST": "https://old.example"}, "old"))
    called("connect")
    kept = connected.kept()
    assert kept and (kept.context, kept.settings.get("KFP_HOST")) == ("x", None)


def test_without_a_kubeconfig_nothing_is_kept(called: Called, kubeconfig: Path) -> None:
    kubeconfig.unlink()
    one_line(called("connect"), 1, "Kubernetes: expected a kubeconfig", "set KUBECONFIG")
    assert connected.kept() is None


def test_a_damaged_connection_is_one_line_and_connect_replaces_it(
    api: ApiServer, called: Called, tally_home: Path
) -> None:
    tally_home.mkdir()
    (tally_home / "connection.json").write_text("{")
    one_line(called("runs"), 2, "connection.json: expected what `tally connect` wrote")
    called("connect")
    assert connected.kept() is not None


def test_after_it_submit_runs_there_and_ends_with_the_meters_bill(
    api: ApiServer, called: Called, replay: Replay, meter: Meter, kubeconfig: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(watching, "POLL_SECONDS", 0.02)
    replay.multi_user = True
    api.make_namespace("team-a", "default-editor")
    api.write_kubeconfig(kubeconfig, "team-a")
    serve_ui(api, replay.port)
    serve_meter(api, meter.port)
    meter.ledger.write_nodes([node()])

    def created(server: Replay) -> None:
        run_id = server.the_run()["run_id"]
        meter.ledger.put_new_runs([run(run_id, state="succeeded", ended_at_microseconds=NOON)])
        meter.ledger.write_usage(life(f"pod-{run_id}", NOON - HOUR, NOON, run_id=run_id))

    replay.created = created
    called("connect")
    done = called("submit", "cnn", "--json", TALLY_IMAGE="registry.example/tally:0.1.0")
    assert done.code == 0, done.err
    said, bill = json.loads(done.out), meter.ledger.bill(replay.the_run()["run_id"])
    assert (said["bill_is_final"], said["cost_usd"]) == (True, float(bill.total_usd))
    assert f"http://tally-meter.tally.svc:{meter.port}".encode() in replay.uploads[0]
