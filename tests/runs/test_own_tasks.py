"""Tasks that a user's file brings, one file each: trained at any size, killed, resumed, told of.

Whoever lists, bills, compares or reports reads what was kept: the file is gone by then.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from helpers.command import Live, submit_json, tally, wait_until

FILES = Path(__file__).parents[1] / "helpers" / "tasks"
TASKS = {
    "finding": ("test_found", "boxes found", "Crowded pictures", "several"),
    "speaking": ("test_cer", "symbol error rate", "Errors by length", "wrong"),
    "tagging": ("test_tagged", "tokens tagged", "Whole sentences", "without a wrong tag"),
}
NONE, RATE = ["--set", "candidates="], ["--set", "learning_rate=0.01"]
SHORT, LONG = [*RATE, "--set", "epochs=6"], [*NONE, *RATE, "--set", "epochs=40"]
EXACT = ["--set", "deterministic=true", "--set", "checkpoint_seconds=0.3"]
WHO = "import sys; open(__file__ + '.ran', 'a').write(' '.join(sys.argv) + '\\n')\n"


@pytest.fixture(params=sorted(TASKS))
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Of a user, somewhere else than Tally."""
    path = tmp_path / f"{request.param}.py"
    path.write_text(WHO + (FILES / path.name).read_text())
    return path


def weights(home: Path, run_id: str) -> dict[str, np.ndarray]:
    return safetensors.numpy.load_file(home / "runs" / run_id / "model" / "weights.safetensors")


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return all(np.array_equal(one[name], other[name]) for name in one.keys() | other.keys())


def test_it_is_trained_measured_and_told_of_without_its_file(
    file: Path, tally_home: Path, tmp_path: Path
) -> None:
    measure, title, section, words = TASKS[file.stem]
    candidates = file.stem == "tagging"  # of one
    run = submit_json(str(file), *SHORT, *(["--set", "candidates=float32"] if candidates else NONE))
    value = run["metrics"][measure]
    assert 0 <= value <= 1 and run["bill"][measure] == value
    assert "test_accuracy" not in run["bill"]
    file.unlink()
    ran = file.with_name(f"{file.name}.ran")
    assert "tally/__main__.py" not in ran.read_text()  # nor did submit run it, which quoted the run
    ran.unlink()
    found = json.loads((tally_home / "runs" / run["id"] / "evaluation.json").read_text())
    assert found[measure] == value and len(found["intervals"][measure]) == 2
    assert f"{value:.2%}" in tally("runs").stdout
    assert json.loads(tally("bill", run["id"], "--json").stdout)[measure] == value
    assert measure in tally("compare", f"{run['id']},{run['id']}").stdout
    assert not candidates or f"{100 * value:.2f} %" in tally("champion").stdout
    done = tally("report", run["id"], "--out", str(tmp_path / "page.html"))
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "page.html").read_text()
    assert not [
        each for each in (title, section, words, f"{100 * value:.1f} %") if each not in page
    ]
    assert file.stem != "tagging" or "Training tokens tagged" in page


@pytest.mark.slow
def test_two_and_three_workers_learn_what_one_does(file: Path, tally_home: Path) -> None:
    alone = weights(tally_home, submit_json(str(file), *SHORT, *NONE)["id"])
    for workers in (2, 3):
        run = submit_json(str(file), *SHORT, *NONE, "--set", f"workers={workers}")
        gang = weights(tally_home, run["id"])
        for name, values in alone.items():
            assert np.abs(values - gang[name]).max() <= 3e-4 * np.abs(values).max(), name


@pytest.fixture(scope="module", params=sorted(TASKS))
def alone(
    request: pytest.FixtureRequest, home: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, np.ndarray]]:
    """A task's file, and the weights that one worker comes to in deterministic mode."""
    path = tmp_path_factory.mktemp(request.param) / f"{request.param}.py"
    path.write_text((FILES / path.name).read_text())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TALLY_HOME", str(home))
        return path, weights(home, submit_json(str(path), *LONG, *EXACT)["id"])


@pytest.mark.slow
def test_three_workers_come_to_the_same_bits(
    alone: tuple[Path, dict[str, np.ndarray]], tally_home: Path
) -> None:
    file, expected = alone
    run = submit_json(str(file), *LONG, *EXACT, "--set", "workers=3")
    assert same(weights(tally_home, run["id"]), expected)


@pytest.mark.slow
def test_killed_and_resumed_two_come_to_the_same_bits(
    alone: tuple[Path, dict[str, np.ndarray]], tally_home: Path
) -> None:
    file, expected = alone
    with Live(tally_home, str(file), *LONG, *EXACT, "--set", "workers=2") as live:
        live.until("checkpoint")
        live.worker().kill()
        live.until("generation", 2)
        for process in live.processes():
            process.kill()
        wait_until(live.gone)
    done = tally("resume", live.run_id)
    assert done.returncode == 0, done.stdout + done.stderr
    assert same(weights(tally_home, live.run_id), expected)
