"""The compiled steps run each as in a pod of its own: nothing is shared but the store's bucket.

Commands, environment and artifacts are the compiled ones; in place of KFP's launcher there is a
few lines' worth of what it does. Like it, they take no artifact whose URI a step changed.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml

from tally import content, userfile
from tally.runs.compiled import Compiled, compile_for_cluster

EMULATOR = """
import sys
from gcp_storage_emulator.server import create_server
server = create_server("127.0.0.1", 0, in_memory=True)
server.start()
print(server._api._httpd.server_address[1], flush=True)
sys.stdin.read()
server.stop()
"""
MINE = """
def model():
    import keras

    layers = keras.layers
    return keras.Sequential([keras.Input((3, 1)), layers.Flatten(), layers.Dense(2, "softmax")])


def dataset():
    return "gs://sources/rows.csv"
"""


@pytest.fixture
def emulator() -> Iterator[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", EMULATOR],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    process.communicate(timeout=30)  # its input ends, so it does


@pytest.fixture
def sources(emulator: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    from google.cloud import storage as gcs

    monkeypatch.setenv("STORAGE_EMULATOR_HOST", emulator)
    client = gcs.Client.create_anonymous_client()
    client.create_bucket("store")
    return client.create_bucket("sources")


def rows(count: int) -> str:
    lines = [f"{n % 2},{n % 7},{n % 5},{'a' if n % 2 else 'b'}" for n in range(count)]
    return "\n".join(["x,y,z,label", *lines]) + "\n"


class Pods:
    """The pods of one run, one after the other."""

    def __init__(
        self, made: Compiled, image: Path, folder: Path, run_id: str, **environment: str
    ) -> None:
        self._ir, self._environment = next(yaml.safe_load_all(made.ir)), environment
        self._image, self._folder, self._run_id = image, folder, run_id
        self.artifacts: dict[str, dict[str, Any]] = {}
        self.outputs: dict[str, dict[str, Any]] = {}

    def run(self, step: str, parameters: dict[str, Any]) -> subprocess.CompletedProcess[str]:
        """Run one step on a disk of its own; inputs are outputs of the same name before it."""
        component = self._ir["components"][f"comp-{step}"]
        container = self._ir["deploymentSpec"]["executors"][component["executorLabel"]]["container"]
        given = self._input(step, component, parameters)
        home = self._folder / f"home-{step}"
        nothing = self._folder / "nothing"  # as a kubelet mounts an optional ConfigMap without one
        nothing.mkdir(exist_ok=True)
        environment = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(self._image),
            "HOME": str(home),
            "TALLY_HOME": str(home),
            "STORAGE_EMULATOR_HOST": os.environ.get("STORAGE_EMULATOR_HOST", ""),
            "TALLY_RUN_ID": self._run_id,
            **{entry["name"]: entry["value"] for entry in container["env"]},
            "TALLY_MACHINES": str(nothing),
            **self._environment,
        }
        command = [*container["command"], *container["args"]]
        done = subprocess.run(
            [json.dumps(given) if part == "{{$}}" else part for part in command],
            capture_output=True,
            text=True,
            timeout=120,
            env=environment,
            cwd=self._image,
        )
        shutil.rmtree(home, ignore_errors=True)  # as the pod's disk goes with it
        if done.returncode == 0:
            self._take(step, given)
        return done

    def _input(
        self, step: str, component: dict[str, Any], parameters: dict[str, Any]
    ) -> dict[str, Any]:
        wanted = component["inputDefinitions"]
        made = component.get("outputDefinitions", {})
        folder = self._folder / step
        folder.mkdir()
        return {
            "inputs": {
                "parameterValues": {n: parameters[n] for n in wanted["parameters"]},
                "artifacts": {
                    n: {"artifacts": [self.artifacts[n]]} for n in wanted.get("artifacts", {})
                },
            },
            "outputs": {
                "artifacts": {
                    name: {
                        "artifacts": [
                            {"name": name, "type": kind["artifactType"], "uri": str(folder / name)}
                        ]
                    }
                    for name, kind in made.get("artifacts", {}).items()
                },
                "parameters": {
                    name: {"outputFile": str(folder / f"{name}.parameter")}
                    for name in made.get("parameters", {})
                },
                "outputFile": str(folder / "outputs.json"),
            },
        }

    def _take(self, step: str, given: dict[str, Any]) -> None:
        said = json.loads((self._folder / step / "outputs.json").read_text())
        self.outputs[step] = said.get("parameterValues", {})
        for name, before in given["outputs"]["artifacts"].items():
            (artifact,) = said["artifacts"][name]["artifacts"]
            assert artifact["uri"] == before["artifacts"][0]["uri"], name
            assert "home-" not in json.dumps(artifact["metadata"])  # a disk that is gone
            self.artifacts[name] = artifact


def trained(made: Compiled, image: Path, folder: Path, run_id: str) -> Pods:
    """A run up to the end of its training."""
    folder.mkdir()
    pods = Pods(made, image, folder, run_id)
    prepared = pods.run("prepare", {"pipeline": made.name, **made.arguments})
    assert prepared.returncode == 0, prepared.stderr
    spec = pods.outputs["prepare"]["Output"]
    planned = pods.run("plan", {"spec": spec})
    assert planned.returncode == 0, planned.stderr + planned.stdout
    plan = pods.outputs["plan"]["Output"]
    done = pods.run("train", {"spec": spec, "plan": plan})
    assert done.returncode == 0, done.stderr + done.stdout
    return pods


@pytest.mark.slow
def test_a_source_overwritten_under_the_same_url_is_what_the_next_run_trains_on(
    sources: Any, image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(userfile, "POD_FOLDER", PurePosixPath(tmp_path / "user"))
    (tmp_path / "mine.py").write_text(MINE)
    made = compile_for_cluster(
        str(tmp_path / "mine.py"), {"epochs": "2"}, {"TALLY_STORE": "gs://store/tally"}
    )
    (tmp_path / "mine.py").unlink()
    sources.blob("rows.csv").upload_from_string(rows(50))

    first = trained(made, image, tmp_path / "first", "run-1")
    facts = first.artifacts["dataset_folder"]["metadata"]
    assert (facts["train_examples"], facts["reused"]) == (40, False)
    assert facts["stored"].startswith("gs://store/tally/datasets/")
    assert first.artifacts["model"]["metadata"]["examples_trained"] == 80
    spec = first.outputs["prepare"]["Output"]
    evaluated = first.run("evaluate", {"spec": spec})
    assert evaluated.returncode == 0, evaluated.stderr
    assert 0 <= first.artifacts["metrics"]["metadata"]["test_accuracy"] <= 1
    assert "<html" in Path(first.artifacts["page"]["uri"]).read_text().lower()

    sources.blob("rows.csv").upload_from_string(rows(100))
    second = trained(made, image, tmp_path / "second", "run-2")
    new = second.artifacts["dataset_folder"]["metadata"]
    assert (new["train_examples"], new["reused"]) == (80, False)
    assert new["fingerprint"] != facts["fingerprint"]
    assert second.artifacts["model"]["metadata"]["examples_trained"] == 160

    (tmp_path / "third").mkdir()
    third = Pods(made, image, tmp_path / "third", "run-3")
    again = third.run("prepare", {"pipeline": made.name, **made.arguments})
    assert again.returncode == 0, again.stderr
    assert third.artifacts["dataset_folder"]["metadata"]["reused"] is True


def test_a_step_whose_image_is_anothers_ends_before_it_does_anything(
    image: Path, tmp_path: Path
) -> None:
    made = compile_for_cluster("cnn", {}, {})
    (image / content.FILE).write_text("of-other-sources")
    (tmp_path / "run").mkdir()
    pods = Pods(made, image, tmp_path / "run", "run-4")
    done = pods.run("prepare", {"pipeline": made.name, **made.arguments})
    assert done.returncode == 2
    assert f"expected one of content {content.tag_of()}" in done.stderr
    assert "got of-other-sources" in done.stderr
    assert "step_started" not in done.stdout and not pods.artifacts
