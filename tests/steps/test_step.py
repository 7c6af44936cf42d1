"""What a step knows from its pod."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tally.runcontext import attempt_of
from tally.steps import lives


@pytest.mark.parametrize(
    ("node", "attempt"),
    [
        pytest.param("", 1, id="no Argo"),
        pytest.param("cnn-x.root.exit-handler-1.train.executor", 1, id="no retries"),
        pytest.param("cnn-x(0).root(0).exit-handler-1(0).train(0).executor(0)", 1, id="first"),
        pytest.param("cnn-x(0).root(0).exit-handler-1(0).train(0).executor(1)", 2, id="again"),
        pytest.param("cnn-x(0).root(0).each(0:a).train(0).executor(2)", 3, id="in a loop"),
    ],
)
def test_the_attempt_is_what_argo_counted(node: str, attempt: int) -> None:
    assert attempt_of(node) == attempt


def test_lives_are_told_apart_by_the_uids_of_their_pods(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TALLY_STORE", str(tmp_path))
    assert lives.count("run-a", "train", "uid-1") == 1
    assert lives.count("run-a", "train", "uid-1") == 1  # its process began anew
    assert lives.count("run-a", "train", "uid-2") == 2
    assert lives.count("run-b", "train", "uid-3") == 1
    assert lives.count("run-a", "train", "uid-4") == 3


def _python(
    tmp_path: Path, arguments: list[str], environment: dict[str, str]
) -> "subprocess.CompletedProcess[str]":
    """A process that knows of Tally and Kubernetes what the environment says."""
    others = {k: v for k, v in os.environ.items() if not k.startswith(("TALLY_", "KUBERNETES_"))}
    return subprocess.run(
        [sys.executable, *arguments], env=others | environment, capture_output=True, text=True,
        timeout=60, cwd=tmp_path,
    )  # fmt: skip


def _told(tmp_path: Path, **environment: str) -> str:
    """What a step in a pod says it is."""
    code = """
from tally.steps.step import step
with step("train", cores=0, counts_lives=True) as here:
    print("attempt", here.attempt, here.start_phase)
"""
    (tmp_path / "pod").mkdir(exist_ok=True)
    node = "cnn-x(0).root(0).train(0).executor(0)"
    given = {"TALLY_RUN_ID": "run-a", "TALLY_HOME": str(tmp_path / "pod"), "TALLY_ARGO_NODE": node}
    done = _python(tmp_path, ["-c", code], {**given, **environment})
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_retry_of_kubeflows_is_another_life_under_the_same_names(tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    first = _told(tmp_path, TALLY_STORE=store, TALLY_POD_UID="uid-1")
    assert "attempt 1 startup" in first
    assert "attempt 2 restart" in _told(tmp_path, TALLY_STORE=store, TALLY_POD_UID="uid-2")


def test_a_store_that_does_not_answer_ends_no_step_before_it_begins(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    told = _told(tmp_path, TALLY_STORE=str(tmp_path / "file"), TALLY_POD_UID="uid-1")
    assert "attempt 1 startup" in told
    assert "which life of train this is was not found" in told


_STEP = ["-c", "from tally.steps.step import step\nwith step('bill'): print('began')"]
_WHOLE_RUN = ["-m", "tally.steps.train", "epochs=1"]
_POD = {"TALLY_RUN_ID": "r", "KUBERNETES_SERVICE_HOST": "10.96.0.1"}


@pytest.mark.parametrize(
    ("arguments", "environment", "says"),
    [
        pytest.param(_STEP, {}, "TALLY_RUN_ID: expected the id of the run", id="no run"),
        pytest.param(_WHOLE_RUN, {}, "TALLY_RUN_ID: expected the id of the run", id="whole"),
        pytest.param(
            _STEP,
            {"TALLY_RUN_ID": "r", "TALLY_ATTEMPT": "second"},
            'TALLY_ATTEMPT: expected a whole number, got "second"; correct it',
            id="no number",
        ),
        pytest.param(
            _STEP, {"TALLY_RUN_ID": "r", "TALLY_HOME": "/proc/none"}, "TALLY_HOME: exp", id="home"
        ),
        pytest.param(_WHOLE_RUN, _POD, "TALLY_POD: expected the name of this pod", id="no pod"),
        pytest.param(
            [*_WHOLE_RUN[:2], "epochs"], {"TALLY_RUN_ID": "r"}, 'got "epochs"', id="no value"
        ),
    ],
)
def test_what_a_process_was_not_told_is_one_line(
    arguments: list[str], environment: dict[str, str], says: str, tmp_path: Path
) -> None:
    home = {"TALLY_HOME": str(tmp_path / "home")}
    done = _python(tmp_path, arguments, home | environment)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert not (tmp_path / "home/runs").exists()


def test_a_whole_run_in_a_pod_alone_is_one_that_was_asked_for(tmp_path: Path) -> None:
    home = {"TALLY_HOME": str(tmp_path), "TALLY_GANG": "local"}
    done = _python(tmp_path, ["-m", "tally.steps.train", "epochs=none"], _POD | home)
    assert "step_started" in done.stdout and done.returncode == 2  # it came to its parameters
