"""Which run a process works for, out of its environment."""

from pathlib import Path

import pytest

from helpers.made_step import context
from tally import clock
from tally.runcontext import RunContext

POD = {"TALLY_RUN_ID": "r", "TALLY_HOME": "/home/tally", "TALLY_POD_UID": "u"}


def test_what_a_run_tells_its_processes_is_what_they_read(tmp_path: Path) -> None:
    made = context(tmp_path / "runs" / "r", attempt=3, submit_pid=7)
    told = made.environment()
    assert RunContext.read(told) == made and not made.on_cluster
    assert int(told["TALLY_CLOCK_OFFSET_MICROSECONDS"]) == clock.OFFSET_MICROSECONDS


def test_a_pods_attempt_is_what_it_is_told_else_what_argo_counted() -> None:
    counted = RunContext.read(POD | {"TALLY_ARGO_NODE": "cnn-x(0).root(0).train(1).executor(1)"})
    assert (counted.attempt, counted.pod_uid, counted.on_cluster) == (3, "u", True)
    assert (counted.pipeline, counted.folder) == ("train", Path("/home/tally/runs/r"))
    told = RunContext.read(POD | {"TALLY_ATTEMPT": "2", "TALLY_PIPELINE": "cnn"})
    assert (told.attempt, told.pod_uid, told.pipeline) == (2, "", "cnn")


@pytest.mark.parametrize(
    ("environment", "pods"),
    [
        pytest.param({"TALLY_POD": "train-x"}, True, id="a step's"),
        pytest.param({"TALLY_POD": "train-x", "TALLY_GANG": "local"}, False, id="told otherwise"),
        pytest.param({"TALLY_POD": "train-x", "TALLY_SUBMIT_PID": "7"}, False, id="submitted"),
        pytest.param({"KUBERNETES_SERVICE_HOST": "10.96.0.1"}, False, id="a notebook's"),
        pytest.param({}, False, id="none"),
    ],
)
def test_only_a_steps_pod_has_workers_that_are_pods(
    environment: dict[str, str], pods: bool
) -> None:
    assert RunContext.read(POD | environment).in_pod is pods
