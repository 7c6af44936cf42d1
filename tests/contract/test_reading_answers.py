"""What a real server answered, read: states of steps, ends, refusals, logs."""

import json

import pytest

from helpers.contract.recordings import RECORDED, recorded
from tally.runs.kubeflow.steps import leaves, outcome, steps
from tally.runs.kubeflow.words import log_reason, sentence

THREE = ["make", "measure", "report", "finish"]


def states(name: str) -> dict[str, str]:
    run = recorded(name)["response_body"]
    return {step.name: step.state for step in steps(run, leaves(run.get("pipeline_spec") or {}))}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("11-get-run-pending", dict.fromkeys(THREE, "pending")),
        ("13-get-run-state-missing", dict.fromkeys(THREE, "pending")),
        ("12-get-run-running", dict.fromkeys(THREE, "pending")),
        ("14-get-run-succeeded", dict.fromkeys(THREE, "succeeded")),
        ("15-get-run-succeeded-by-version", {"add": "succeeded", "add-2": "succeeded"}),
        ("16-get-run-failed-step", {"boom": "failed", "finish": "succeeded"}),
        ("17-get-run-running-unschedulable", {"slow": "waiting", "finish": "pending"}),
        ("18-get-run-running-bad-image", {"boom": "waiting"}),
        ("20-get-run-canceling", {"slow": "running", "finish": "pending"}),
        ("21-get-run-terminated-ends-failed", {"slow": "stopped", "finish": "skipped"}),
        ("22-get-run-terminated-unschedulable", {"slow": "stopped", "finish": "stopped"}),
    ],
)
def test_a_task_is_the_row_that_is_called_like_it(name: str, expected: dict[str, str]) -> None:
    assert states(name) == expected


def test_tasks_are_in_the_order_in_which_they_can_run() -> None:
    assert leaves(recorded("14-get-run-succeeded")["response_body"]["pipeline_spec"]) == THREE


def test_a_step_that_is_prepared_is_starting() -> None:
    run = recorded("16-get-run-failed-step")["response_body"]
    run["state"] = "RUNNING"
    rows = run["run_details"]["task_details"]
    run["run_details"]["task_details"] = [
        row for row in rows if not (row.get("display_name") or "").startswith("boom")
        or row["display_name"] == "boom-driver"
    ]  # fmt: skip
    assert [step.state for step in steps(run, ["boom"])] == ["starting"]


def test_a_failed_steps_node_is_that_of_its_pod() -> None:
    run = recorded("16-get-run-failed-step")["response_body"]
    (boom,) = steps(run, ["boom"])
    # of recorded/30: …/nodes/lab-fail-zdxn8-system-container-impl-1049825830/log
    assert boom.nodes == ("lab-fail-zdxn8-1049825830",)
    assert boom.seconds == 8


@pytest.mark.parametrize(
    ("name", "end"),
    [
        ("11-get-run-pending", None), ("12-get-run-running", None),
        ("13-get-run-state-missing", None), ("20-get-run-canceling", None),
        ("14-get-run-succeeded", "succeeded"), ("16-get-run-failed-step", "failed"),
        ("21-get-run-terminated-ends-failed", "cancelled"),
        ("22-get-run-terminated-unschedulable", "cancelled"),
        ("23-get-run-failed-no-service-account", "failed"), ("24-get-run-retried", "failed"),
    ],
)  # fmt: skip
def test_how_a_run_ended(name: str, end: str | None) -> None:
    found = outcome(recorded(name)["response_body"])
    assert (found and found.state) == end


def test_a_cancelled_run_that_was_retried_and_failed_has_failed() -> None:
    history = ["RUNNING", "CANCELING", "FAILED", "RUNNING", "FAILED"]
    run = {"state": "FAILED", "state_history": [{"state": word} for word in history]}
    found = outcome(run)
    assert found and found.state == "failed"


ERRORS = sorted(path.stem for path in RECORDED.glob("*-error-*.json"))


@pytest.mark.parametrize("name", ERRORS)
def test_a_refusal_is_one_sentence_without_a_stack(name: str) -> None:
    said = sentence(json.dumps(recorded(name)["response_body"]))
    assert 10 < len(said) <= 300
    assert "\n" not in said and ".go:" not in said and "Error:" not in said.split(". ")[0]


@pytest.mark.parametrize("body", ["", None, "<html>", "[]", "3", b"\xff", '{"message": null}'])
def test_what_is_no_answer_of_the_server_has_no_sentence(body: str | bytes | None) -> None:
    assert sentence(body) == ""


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (recorded("30-run-log-v1alpha1")["response_body"], "RuntimeError: bad thing: hello"),
        (
            'train: expected a finite loss, got nan; lower the rate\n{"step": "train", "event": '
            '"failed", "message": "train: expected a finite loss, got nan; lower the rate"}\n'
            "E1123 19:16:59.299326      17 launcher_v2.go:449] Component failed: exit status 1",
            "train: expected a finite loss, got nan; lower the rate",
        ),
        ("sh: 1: python3: not found\nF1123 19:16:59.491925  17 main.go:130] exit status 127",
         "sh: 1: python3: not found"),
        ("I1123 19:16:58.735803   17 main.go:139] hello\n"
         "F1123 19:16:59.491925   17 main.go:130] KFP driver: failed to unmarshal node_selector",
         "KFP driver: failed to unmarshal node_selector"),
        ("", ""),
        ("I1123 19:16:58.735803   17 main.go:139] hello", ""),
    ],
    ids=["exception", "a step of ours", "shell", "driver", "empty", "nothing said"],
)  # fmt: skip
def test_a_log_says_why(text: str, reason: str) -> None:
    assert log_reason(text) == reason
