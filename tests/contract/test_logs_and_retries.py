"""`tally logs`, `tally resume`, `tally resize` and `tally compare` on Kubeflow's runs."""

import json
from pathlib import Path
from typing import Any

import pytest

from helpers.contract.recordings import FAILURE
from helpers.contract.replay import Replay
from helpers.metered_runs import HOUR, NOON, life, node, run
from helpers.served_meter import served_meter, token_of
from tally.costing.quotes import GANG, RESIZE_ASKED, RunEvent
from tally.runs.kubeflow import retrying

pytestmark = pytest.mark.slow

PODS = "/api/v1/namespaces/kubeflow/pods"


@pytest.fixture
def failed(run_tally, replay: Replay) -> str:
    """The id of a run whose train step failed."""
    replay.story = list(FAILURE)
    assert run_tally("submit", "cnn").code == 1
    return str(replay.the_run()["run_id"])


def test_a_retried_run_is_followed_to_its_new_end(
    run_tally, replay: Replay, failed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retrying, "_LOOK_SECONDS", 0.02)
    done = run_tally("resume", failed[:8], "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["state"] == "succeeded"
    assert replay.seen["POST runs/*:retry"] == 1


def test_one_that_is_not_begun_again_is_an_error_in_time(
    run_tally, replay: Replay, failed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retrying, "_LOOK_SECONDS", 0.02)
    monkeypatch.setattr(retrying, "BEGIN_SECONDS", 0.1)
    replay.retried = ["16-get-run-failed-step"]
    done = run_tally("resume", failed)
    assert done.code == 1
    assert "expected Kubeflow to begin it again within 0 s, got FAILED" in done.err


def test_only_what_did_not_succeed_is_retried_and_as_it_was(
    run_tally, replay: Replay, failed: str
) -> None:
    other = run_tally("resume", failed, "--set", "epochs=3")
    assert other.code == 2
    assert "SET: expected none for a run on a cluster, got epochs" in other.err
    replay._left[failed] = ["14-get-run-succeeded"]
    done = run_tally("resume", failed)
    assert done.code == 2
    assert "expected one that failed or was cancelled, got succeeded" in done.err
    replay._left[failed] = ["12-get-run-running"]
    assert "got one that goes on (`make watch` follows it)" in run_tally("resume", failed).err
    assert replay.seen["POST runs/*:retry"] == 0


def test_without_a_kubeconfig_logs_are_what_kubeflow_keeps(run_tally, failed: str) -> None:
    done = run_tally("logs", failed, "--step", "train")
    assert done.code == 0, done.err
    titles = [line for line in done.out.splitlines() if line.startswith("==>")]
    assert titles == ["==> train <=="]
    assert "RuntimeError: bad thing" in done.out
    whole = run_tally("logs", failed).out
    assert "==> train <==" in whole and "==> bill <==" in whole


def test_a_step_that_there_is_not_is_one_line(run_tally, failed: str) -> None:
    done = run_tally("logs", failed, "--step", "trian")
    assert done.code == 2
    assert "STEP: expected one of" in done.err and "got trian" in done.err


def test_where_nothing_is_kept_that_is_said(run_tally, replay: Replay, failed: str) -> None:
    replay.faults["GET v1alpha1 log"] = ["500"] * 20
    done = run_tally("logs", failed)
    assert done.code == 2
    assert "its pods are gone, and Kubeflow has kept none" in done.err


def pod(name: str, **labels: str) -> dict[str, Any]:
    path = Path(__file__).parents[1] / "kube" / "pods" / "kfp-executor.json"
    made = json.loads(path.read_text())
    meta = made["metadata"]
    meta["name"], meta["labels"] = name, {**meta["labels"], **labels}
    return dict(made)


@pytest.mark.usefixtures("kubeconfig")
def test_with_one_they_are_the_pods_own_workers_among_them(
    run_tally, replay: Replay, failed: str
) -> None:
    step = {"tally.dev/step": "train", "pipeline/runid": failed}
    worker = pod("worker-0", **step, **{"tally.dev/gang": "g"})
    worker["spec"]["containers"] = [
        {"name": "worker", "env": [{"name": "TALLY_WORKER", "value": "0"}]}
    ]
    waiting = pod("waiting", **step)
    replay.kubernetes = {
        PODS: {"items": [pod("conductor", **step), worker, waiting]},
        f"{PODS}/conductor/log": "the conductor's\n",
        f"{PODS}/worker-0/log": "a worker's",
        f"{PODS}/waiting/log": 400,  # it has not begun
    }
    done = run_tally("logs", failed, "--step", "train")
    assert done.code == 0, done.err
    assert done.out == "==> train <==\nthe conductor's\n==> train worker 0 <==\na worker's\n"


def test_runs_of_a_cluster_are_compared_with_the_meters_bills(
    run_tally, replay: Replay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "meter"
    folder.mkdir()
    with served_meter(folder, monkeypatch) as meter:
        meter.ledger.write_nodes([node()])
        (folder / "token").write_text(token_of("team-a"))
        monkeypatch.setenv("TALLY_METER_URL", meter.url)
        monkeypatch.setenv("TALLY_METER_TOKEN_FILE", str(folder / "token"))
        measured = {"test_accuracy": 0.9, "test_loss": 0.4, "macro_f1": 0.8}
        for epochs in ("2", "3"):
            replay.created = lambda server: meter.ledger.put_new_runs([
                run(list(server.runs)[-1], state="succeeded", ended_at_microseconds=NOON,
                    metrics=measured)
            ])  # fmt: skip
            assert run_tally("submit", "cnn", "--set", f"epochs={epochs}").code == 0
            run_id = list(replay.runs)[-1]
            meter.ledger.write_usage(life(f"pod-{run_id}", NOON - HOUR, NOON, run_id=run_id))
        done = run_tally("compare", ",".join(replay.runs), "--json")
        assert done.code == 0, done.err
        said = json.loads(done.out)
        assert said["differing"] == ["epochs"]
        for one in said["runs"]:
            assert one["metrics"] == measured
            assert one["bill"]["total_usd"] == float(meter.ledger.bill(one["id"]).total_usd)


def test_a_run_is_resized_from_outside_by_who_may_update_its_workflow(
    run_tally, replay: Replay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "meter"
    folder.mkdir()
    assert run_tally("submit", "cnn").code == 0
    (run_id,) = replay.runs
    with served_meter(folder, monkeypatch) as meter:
        (folder / "token").write_text(token_of("kubeflow", "default-editor"))
        monkeypatch.setenv("TALLY_METER_URL", meter.url)
        monkeypatch.setenv("TALLY_METER_TOKEN_FILE", str(folder / "token"))
        meter.ledger.put_new_runs([run(run_id, team="kubeflow")])
        whose = {"run_id": run_id, "namespace": "kubeflow", "step": "train"}
        facts = {"workers": 1, "max_workers": 3}
        meter.ledger.write_events([RunEvent(at_microseconds=1, kind=GANG, facts=facts, **whose)])
        meter.reviews.may = {("kubeflow", "update", "kubeflow")}
        refused = run_tally("resize", run_id[:8], "4")
        assert refused.code == 2 and 'SET="max_workers=4"' in refused.err
        done = run_tally("resize", run_id[:8], "3")
        assert done.code == 0, done.err
        assert done.out.startswith(f"asked {run_id} for 3 workers; `make watch RUN={run_id}`")
        (wish,) = meter.ledger.events(run_id, "kubeflow", (RESIZE_ASKED,))
        assert (wish.facts["workers"], wish.facts["by"]) == (3, "kubeflow/default-editor")


def test_without_a_meter_there_is_nothing_to_compare(run_tally, failed: str) -> None:
    done = run_tally("compare", f"{failed},{failed}")
    assert done.code == 2
    assert "TALLY_METER_URL: expected the address of the cluster's meter" in done.err
