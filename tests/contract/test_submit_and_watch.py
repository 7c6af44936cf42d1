"""A run on Kubeflow from submit to its end, as a real server answered."""

import json
import re
import threading
import time

import pytest

from helpers.contract.recordings import CANCELLED, FAILURE, UNSCHEDULABLE, answer_of
from helpers.contract.replay import Replay, interrupt_at


def test_a_run_that_succeeds(run_tally, replay: Replay) -> None:
    done = run_tally("submit", "cnn", "--set", "epochs=1")
    assert done.code == 0, done.err
    run = replay.the_run()
    first, *lines = done.out.splitlines()
    where = f"cnn on {replay.host}, as nobody (no token), namespace kubeflow, quote $"
    assert first.startswith(where)
    low, high = map(float, first.removeprefix(where).split("–"))
    assert 0 < low < high
    assert f"{replay.host}/#/runs/details/{run['run_id']}" in lines
    for step in ("prepare", "train", "evaluate", "bill"):
        assert any(re.fullmatch(f"{step}: succeeded after [67] s", line) for line in lines), lines
    assert lines[-2] == f"bill: set TALLY_METER_URL, then `make bill RUN={run['run_id']}`"
    assert lines[-1].startswith("succeeded · ")
    assert run["runtime_config"]["parameters"]["epochs"] == 1
    assert replay.seen["POST runs"] == 1


def test_the_link_is_the_uis_where_that_is_elsewhere(
    run_tally, replay: Replay, monkeypatch
) -> None:
    monkeypatch.setenv("KF_PIPELINES_UI_ENDPOINT", "https://kubeflow.example/pipeline/")
    done = run_tally("submit", "cnn")
    link = f"https://kubeflow.example/pipeline/#/runs/details/{replay.the_run()['run_id']}"
    assert done.out.splitlines()[2] == link


def test_json_is_one_document_on_stdout(run_tally, replay: Replay) -> None:
    done = run_tally("submit", "cnn", "--json")
    said = json.loads(done.out)
    assert said["id"] == replay.the_run()["run_id"]
    assert (said["schema"], said["state"], said["cost_usd"]) == (1, "succeeded", None)


def test_the_same_content_is_the_same_version(run_tally, replay: Replay) -> None:
    assert run_tally("submit", "cnn").code == 0
    assert run_tally("submit", "cnn", "--set", "epochs=2").code == 0
    assert len(replay.runs) == 2
    assert (len(replay.pipelines), len(replay.versions), len(replay.experiments)) == (1, 1, 1)
    assert replay.seen["POST pipelines/upload_version"] == 1
    (name,) = replay.versions
    assert re.fullmatch(r"cnn-[0-9a-f]{16}", name)
    assert b"pipelineInfo" in replay.uploads[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("route", "kept"),
    [
        ("POST pipelines", "pipelines"),
        ("POST pipelines/upload_version", "versions"),
        ("POST experiments", "experiments"),
    ],
)
@pytest.mark.parametrize("lost", ["done then 503", "done then reset", "503", "reset"])
def test_what_was_made_before_its_answer_was_lost_is_found(
    run_tally, replay: Replay, route: str, kept: str, lost: str
) -> None:
    # asked again, the server answers 409: of uploads, with a stack that no line may show
    replay.faults[route] = [lost]
    done = run_tally("submit", "cnn")
    assert done.code == 0, done.err
    assert len(getattr(replay, kept)) == 1
    assert replay.seen[route] == 2
    assert ".go" not in done.out + done.err


def test_two_submits_at_once_share_a_version(run_tally, replay: Replay) -> None:
    # the other one makes it after this one has looked
    replay.faults["POST pipelines/upload_version"] = ["done then 43-error-duplicate-version-name"]
    done = run_tally("submit", "cnn")
    assert (done.code, len(replay.versions)) == (0, 1), done.err


def test_a_run_that_fails_says_which_step_and_why(run_tally, replay: Replay) -> None:
    replay.story = FAILURE
    done = run_tally("submit", "cnn")
    assert done.code == 1
    assert done.err.splitlines() == ["failed: train: RuntimeError: bad thing: hello"]
    assert "train: failed after 8 s" in done.out
    assert replay.seen["GET v1alpha1 log"] == 1


def test_a_retried_run_that_fails_again_is_a_failure(run_tally, replay: Replay) -> None:
    replay.story = ["24-get-run-retried"]
    assert run_tally("submit", "cnn").code == 1


def test_a_run_whose_driver_cannot_start_has_failed(run_tally, replay: Replay) -> None:
    replay.story = ["23-get-run-failed-no-service-account"]
    replay.faults["GET v1alpha1 log"] = ["404"] * 3  # there never was a pod
    done = run_tally("submit", "cnn")
    assert done.code == 1
    assert done.err.startswith("failed: before its first step: no reason is known here; look at")


@pytest.mark.parametrize("ended", [CANCELLED[1], "22-get-run-terminated-unschedulable"])
def test_a_terminated_run_is_cancelled_though_the_server_says_failed(
    run_tally, replay: Replay, ended: str
) -> None:
    replay.story = ["12-get-run-running", "20-get-run-canceling", ended]
    done = run_tally("submit", "cnn")
    assert done.code == 130
    assert done.err.splitlines() == [f"cancelled: run {replay.the_run()['run_id']} was cancelled"]
    assert "run: is being cancelled" in done.out


@pytest.mark.parametrize(
    ("word", "code"), [("SKIPPED", 0), ("CANCELED", 130), ("SOMETHING_NEW", 1)]
)
def test_every_other_end_state_is_an_end(run_tally, replay: Replay, word: str, code: int) -> None:
    replay.synthetic = {**answer_of("14-get-run-succeeded"), "state": word}
    done = run_tally("submit", "cnn")
    assert done.code == code
    assert ("SOMETHING_NEW" in done.err) == (word == "SOMETHING_NEW")


def test_an_unschedulable_step_is_watched_until_ctrl_c_leaves_it(run_tally, replay: Replay) -> None:
    replay.story = UNSCHEDULABLE
    replay.looked = interrupt_at(30)
    done = run_tally("submit", "cnn")
    run_id = replay.the_run()["run_id"]
    assert done.code == 0
    assert "train: waits for its pod" in done.out
    assert done.err.splitlines() == [
        f"left running: `make watch RUN={run_id}` goes on watching, `make cancel RUN={run_id}` "
        "ends it"
    ]
    assert replay.seen["POST runs/*:terminate"] == 0
    assert replay.seen["GET runs/*"] >= 30


def test_ctrl_c_does_not_wait_for_a_server_that_hangs(run_tally, replay: Replay) -> None:
    replay.story = UNSCHEDULABLE
    over = threading.Event()

    def hang(server: Replay) -> None:
        interrupt_at(2)(server)
        if server.seen["GET runs/*"] == 2:
            over.wait(60)

    replay.looked = hang
    began = time.monotonic()
    done = run_tally("submit", "cnn")
    took = time.monotonic() - began
    over.set()
    assert done.code == 0 and "left running" in done.err
    assert took < 50


def test_ctrl_c_with_cancel_ends_the_run(run_tally, replay: Replay) -> None:
    replay.story = UNSCHEDULABLE
    replay.looked = interrupt_at(3)
    done = run_tally("submit", "cnn", "--cancel")
    assert (done.code, replay.seen["POST runs/*:terminate"]) == (130, 1)
    assert done.err.startswith("cancelled: run ")


def test_a_run_that_was_left_is_watched_again_by_name_or_part_of_its_id(
    run_tally, replay: Replay
) -> None:
    replay.story = UNSCHEDULABLE
    replay.looked = interrupt_at(2)
    run_tally("submit", "cnn")
    run = replay.the_run()
    replay.looked = lambda replay: None
    for text in (run["run_id"], run["run_id"][:8], run["run_id"][-8:], run["display_name"]):
        replay._left[run["run_id"]] = ["14-get-run-succeeded"]
        assert run_tally("watch", text).code == 0


def test_errors_in_the_middle_are_survived(run_tally, replay: Replay) -> None:
    replay.faults["GET runs/*"] = ["ok", "503", "reset", "500", "ok", "504"]
    done = run_tally("submit", "cnn")
    assert done.code == 0, done.err
    assert done.out.count("the server does not answer") == 2
    assert len(replay.runs) == 1


def test_a_run_that_is_deleted_meanwhile_ends_the_watching(run_tally, replay: Replay) -> None:
    replay.story = UNSCHEDULABLE
    replay.faults["GET runs/*"] = ["ok", "46-error-unknown-run"]
    done = run_tally("submit", "cnn")
    assert done.code == 2
    assert "404 (Run 11111111-1111-1111-1111-111111111111 not found)" in done.err
    assert len(done.err.splitlines()) == 1
