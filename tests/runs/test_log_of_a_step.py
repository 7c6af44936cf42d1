"""What a step's pod writes: Kubeflow's lines, Tally's, the user's, and no library's small talk."""

from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

import pytest
from test_compiled_steps import Pods

from helpers.s3 import KEYS, serving_bucket
from tally import userfile
from tally.runs.compiled import Compiled, compile_for_cluster

MINE = """
import logging


def model():
    raise AssertionError


def dataset():
    import numpy

    logging.info("rows by hand")
    logging.getLogger("botocore").warning("a clock that is off")
    logging.getLogger("tensorflow").error("no room")
    x, y = numpy.arange(40, dtype="float32").reshape(20, 2), numpy.arange(20) % 2
    return (x[:10], y[:10]), (x[10:], y[10:])
"""


@pytest.fixture
def pods(image: Path, tmp_path: Path) -> Iterator[Callable[[Compiled], Pods]]:
    """Makes the pods of a run whose store is Kubeflow's own."""
    with serving_bucket("mlpipeline") as url:

        def of(made: Compiled) -> Pods:
            (tmp_path / "run").mkdir()
            there = {"AWS_ENDPOINT_URL": url, "TALLY_POD_UID": "uid-1", **KEYS}
            return Pods(made, image, tmp_path / "run", "run-1", **there)

        yield of


def after_kubeflow(text: str) -> list[str]:
    """The lines after those with which its executor begins: what it was given, as JSON."""
    head, _, rest = text.partition("\n}\n")
    assert "Got executor_input" in head, text
    return rest.splitlines()


def test_nothing_is_written_before_tallys_first_line_and_the_users_own_words_stay(
    pods: Callable[[Compiled], Pods], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(userfile, "POD_FOLDER", PurePosixPath(tmp_path / "user"))
    (tmp_path / "mine.py").write_text(MINE)
    made = compile_for_cluster(str(tmp_path / "mine.py"), {}, {})
    done = pods(made).run("prepare", {"pipeline": made.name, **made.arguments})
    print(done.stdout, done.stderr)
    assert done.returncode == 0 and done.stderr == ""
    first, *lines = after_kubeflow(done.stdout)
    assert first == '{"step": "prepare", "event": "step_started"}'
    others = [line for line in lines if not line.startswith('{"step": "prepare", ')]
    *said, end = (line.partition("]: ")[2] for line in others)
    assert said == ["rows by hand", "a clock that is off", "no room"]
    assert end.startswith("Wrote executor output file")


@pytest.mark.slow
def test_the_conductor_counts_its_lives_in_the_store_without_a_word(
    pods: Callable[[Compiled], Pods],
) -> None:
    made = compile_for_cluster("cnn", {"epochs": "1", "augment": "1"}, {})
    run = pods(made)
    prepared = run.run("prepare", {"pipeline": made.name, **made.arguments})
    assert prepared.returncode == 0, prepared.stderr
    done = run.run("train", {"spec": run.outputs["prepare"]["Output"], "plan": {}})
    assert done.returncode == 0, done.stderr
    assert after_kubeflow(done.stdout)[0] == '{"step": "train", "event": "step_started"}'
    assert "alembic" not in done.stdout
