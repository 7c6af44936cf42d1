"""Whatever happens to the request that creates a run: one run, or none and a line that says so."""

import pytest

from helpers.contract.replay import Replay


@pytest.mark.parametrize(
    "faults",
    [
        ["done then 503"],
        ["done then 504"],
        ["done then 500"],
        ["done then reset"],
        ["503"],
        ["reset"],
        ["500", "reset", "503"],
        ["503", "done then reset"],
        ["late"],
        ["47-error-unknown-version", "ok"],
    ],
    ids=" ".join,
)
def test_one_run_is_created(run_tally, replay: Replay, faults: list[str]) -> None:
    made: list[int] = []
    replay.created = lambda server: made.append(len(server.runs))
    replay.faults["POST runs"] = list(faults)
    done = run_tally("submit", "cnn")
    assert done.code == 0, done.err
    assert len(replay.runs) == 1
    # only one that comes after it was looked for can be a second one, which is removed
    assert len(made) == (2 if "late" in faults else 1)
    assert replay.the_run()["run_id"] in done.out


def test_a_clients_mistake_that_the_server_calls_500_ends_with_its_words(
    run_tally, replay: Replay
) -> None:
    replay.faults["POST runs"] = ["47-error-unknown-version"] * 10
    done = run_tally("submit", "cnn")
    assert done.code == 1
    assert done.err.splitlines() == [
        "Kubeflow: expected to create the run, got 500 (PipelineVersion "
        "11111111-1111-1111-1111-111111111111 not found); look at KFP_HOST and the server's log, "
        "then try again"
    ]
    assert replay.seen["POST runs"] == 4
    assert replay.runs == {}


@pytest.mark.parametrize(
    ("refusal", "words"),
    [
        ("50-error-unknown-parameter", "parameter(s) provided are not required by pipeline: zz"),
        ("48-error-unknown-experiment",
         "Experiment 11111111-1111-1111-1111-111111111111 not found"),
    ],
)  # fmt: skip
def test_a_refusal_is_not_asked_again(run_tally, replay: Replay, refusal: str, words: str) -> None:
    replay.faults["POST runs"] = [refusal]
    done = run_tally("submit", "cnn")
    assert done.code == 2
    assert words in done.err
    assert len(done.err.splitlines()) == 1
    assert replay.seen["POST runs"] == 1
    assert replay.runs == {}


def test_where_nobody_can_tell_no_second_run_is_asked_for(run_tally, replay: Replay) -> None:
    replay.faults["POST runs"] = ["done then reset"]
    replay.faults["GET runs"] = ["503"] * 200
    done = run_tally("submit", "cnn")
    assert done.code == 1
    assert "expected to hear whether it was created" in done.err
    assert replay.seen["POST runs"] == 1
    assert replay.the_run()["display_name"] in done.err
