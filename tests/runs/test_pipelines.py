"""Pipelines compile to IR from the same source that runs, every parameter described."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from helpers.command import tally
from tally.errors import SpecError
from tally.runs import pipelines
from tally.runs.compiled import compile_to
from tally.spec import Spec, describe

PROJECT = Path(__file__).parents[2]
ALL = [*pipelines.names(), str(PROJECT / "examples" / "mine.py")]


def compiled(name: str, folder: Path) -> Any:
    """The pipeline's own document; the other one is for Kubernetes."""
    return next(yaml.safe_load_all(compile_to(name, folder / "ir.yaml").read_text()))


@pytest.mark.parametrize("name", ALL)
def test_every_parameter_has_a_default_a_unit_and_its_allowed_values(
    name: str, tmp_path: Path
) -> None:
    ir = compiled(name, tmp_path)
    inputs = ir["root"]["inputDefinitions"]["parameters"]
    assert set(inputs) == set(Spec.model_fields)
    for parameter, given in inputs.items():
        assert "defaultValue" in given, parameter
        assert "Unit: " in given["description"] and "Allowed: " in given["description"], parameter
        assert given["description"] == describe(parameter)


@pytest.mark.parametrize("name", ALL)
def test_caching_is_off_and_the_bill_is_the_exit_handler(name: str, tmp_path: Path) -> None:
    ir = compiled(name, tmp_path)
    dags = [ir["root"]["dag"], *(c["dag"] for c in ir["components"].values() if "dag" in c)]
    tasks = {name: task for dag in dags for name, task in dag["tasks"].items()}
    assert {"prepare", "plan", "train", "evaluate", "bill"} < set(tasks)
    for name, task in tasks.items():
        if name in ("prepare", "plan", "train", "evaluate", "bill"):
            assert not task["cachingOptions"].get("enableCache"), name
    assert tasks["bill"]["triggerPolicy"]["strategy"] == "ALL_UPSTREAM_TASKS_COMPLETED"


def test_compile_command_writes_the_file(tmp_path: Path) -> None:
    done = tally("compile", "cnn", "--out", str(tmp_path / "cnn.yaml"))
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).exists()


def test_a_preset_that_looks_like_a_secret_is_refused() -> None:
    pipelines.load("cnn")
    from components.chain import chain

    with pytest.raises(SpecError, match="secret"):
        chain("leaky", "A pipeline.", db_password="x")


def test_doctor_names_what_is_there() -> None:
    done = tally("doctor", KFP_HOST="", KUBECONFIG="")
    assert done.returncode == 0, done.stdout
    assert "ok       python" in done.stdout
