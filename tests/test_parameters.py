"""A parameter is written once: from there it reaches pipeline, component, step and workers."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tally.errors import SpecError
from tally.gang.messages import WorkerConfig
from tally.spec import Spec

PROJECT = Path(__file__).parents[1]
MADE_UP = '    made_up: Annotated[int, Parameter("a made-up parameter", "count", ge=1, le=9)] = 7\n'
TELL = """
import json
from components.prepare import prepare
from pipelines.cnn import cnn
from tally.gang.messages import WorkerConfig
from tally.spec import describe, validate

def where(component):
    given = component.component_spec.inputs["made_up"]
    return [given.type, given.default]

asked = validate("here", {"made_up": "8"})
places = dict.fromkeys(("dataset", "dataset_fingerprint", "checkpoint_folder", "model_folder"), "")
told = WorkerConfig(**asked.training(), **places).as_json()
print(json.dumps({
    "pipeline": where(cnn), "component": where(prepare), "described": describe("made_up"),
    "source": prepare.component_spec.implementation.container.command[-1],
    "step": asked.model_dump()["made_up"], "worker": WorkerConfig.from_json(told).made_up,
}))
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Where a parameter arrives that was added by one line to a copy of these sources."""
    folder = tmp_path_factory.mktemp("sources")
    for name in ("tally", "components", "pipelines"):
        shutil.copytree(PROJECT / name, folder / name)
    file = folder / "tally" / "parameters.py"
    before, head, after = file.read_text().partition("    model: Annotated[\n")
    assert head
    file.write_text(before + MADE_UP + head + after)
    done = subprocess.run(
        [sys.executable, "-c", TELL], capture_output=True, text=True, timeout=120, cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_one_line_more_is_a_parameter_of_pipelines_and_of_the_prepare_step(told: Any) -> None:
    assert told["pipeline"] == ["Integer", 7]
    assert told["component"] == ["Integer", None]
    assert "made_up: int" in told["source"]  # what KFP's executor reads in the pod
    assert told["described"] == "a made-up parameter. Unit: count. Allowed: 1 to 9."


def test_it_reaches_the_steps_and_the_workers_as_the_user_gave_it(told: Any) -> None:
    assert (told["step"], told["worker"]) == (8, 8)


def test_a_worker_takes_no_default_for_what_its_conductor_did_not_say() -> None:
    places = dict.fromkeys(("dataset", "dataset_fingerprint", "checkpoint_folder"), "")
    said = WorkerConfig(**Spec().training(), **places, model_folder="").as_json()
    assert WorkerConfig.from_json({**said, "of_another": 1}).epochs == Spec().epochs
    del said["epochs"]
    with pytest.raises(SpecError, match="got no epochs; start conductor and workers from the same"):
        WorkerConfig.from_json(said)
