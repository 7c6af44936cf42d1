"""Runs after runs: promotion on merit, a retraining without new data, commands about models."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from helpers.command import QUICK, submit_json, tally
from tally.evaluation.registry import Registry

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_home")]

CANDIDATES = "float32 int8 structured50+float32"
MODEL = "cnn-digits"
CHEAP = [*QUICK[:4], "--set", f"candidates={CANDIDATES}", "--set", "tuning_epochs=1"]


def evaluation(home: Path, run_id: str) -> dict[str, Any]:
    return json.loads((home / "runs" / run_id / "evaluation.json").read_text())


def read(done) -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def runs() -> list[dict[str, Any]]:
    return read(tally("runs", "--json"))["runs"]


def test_the_first_run_is_promoted_and_the_second_on_merit_only(home: Path) -> None:
    first = submit_json("cnn", *CHEAP)
    found = evaluation(home, first["id"])
    assert [row["name"] for row in found["candidates"]] == CANDIDATES.split()
    assert all(not row["failed"] for row in found["candidates"])
    assert found["verdict"]["promote"] and Registry().champion(MODEL).lineage["run"] == first["id"]
    second = submit_json("cnn", *CHEAP, "--set", "seed=5")
    verdict = evaluation(home, second["id"])["verdict"]
    champion = Registry().champion(MODEL)
    assert verdict["champion"] == found["verdict"]["version"]
    assert champion.lineage["run"] == (second if verdict["promote"] else first)["id"]
    assert second["state"] == "succeeded" and verdict["reason"]


def test_without_new_data_a_retraining_ends_in_seconds(home: Path) -> None:
    champion = Registry().champion(MODEL)
    began = time.monotonic()
    run = submit_json("cnn", *CHEAP, "--set", "retrain=if-new-data")
    assert time.monotonic() - began < 75
    assert run["state"] == "succeeded"
    assert Registry().champion(MODEL) == champion
    assert not list((home / "runs" / run["id"]).rglob("*.safetensors"))
    assert run["bill"]["total_usd"] < 0.01
    done = tally("submit", "cnn", *CHEAP, "--set", "retrain=if-new-data")
    assert done.returncode == 0 and "no new data: nothing was trained" in done.stdout
    # nor does such a run count as one whose quote was right or wrong
    scored = {row["run_id"] for row in read(tally("quote", "--accuracy", "--json"))["runs"]}
    assert run["id"] not in scored and scored


def test_a_warm_start_begins_with_the_champions_weights(home: Path) -> None:
    run = submit_json("cnn", *CHEAP, "--set", "start=champion", "--set", "seed=6")
    noted = [
        json.loads(line)
        for line in (home / "runs" / run["id"] / "events.jsonl").read_text().splitlines()
    ]
    first = {}
    for one in runs():
        lines = (home / "runs" / one["id"] / "events.jsonl").read_text().splitlines()
        losses = [e["loss"] for e in map(json.loads, lines) if e["event"] == "epoch"]
        if losses:
            first[one["id"]] = losses[0]
    assert first[run["id"]] < min(loss for name, loss in first.items() if name != run["id"])
    version = Registry().pointer(MODEL)
    assert any(version.now.version in json.dumps(e) or "champion" in json.dumps(e) for e in noted)


def test_champions_are_listed_and_rolled_back(home: Path) -> None:
    (row,) = read(tally("champion", "--json"))["versions"]
    assert (row["model"], row["state"]) == (MODEL, "champion")
    assert row["version"] in tally("champion", MODEL, COLUMNS="200").stdout
    registry, now = Registry(), Registry().champion(MODEL)
    file = home / "other.tflite"
    file.write_bytes(b"other")
    other = registry.add(MODEL, {"model.tflite": file}, {"run": "r"})
    assert registry.promote(other, now.name, "r")
    done = tally("rollback", MODEL)
    assert done.returncode == 0 and now.name in done.stdout
    assert registry.champion(MODEL) == now
    states = [row["state"] for row in read(tally("champion", MODEL, "--json"))["versions"]]
    assert states[0] == "champion" and "rolled back" in states
    for words, says in (
        (["rollback", "nosuch"], "expected a champion, got none yet"),
        (["champion", "nosuch"], "expected a model of the registry (cnn-digits)"),
        (["rollback", MODEL, "--to", "latest"], "expected a version"),
    ):
        done = tally(*words)
        assert done.returncode == 2 and says in " ".join(done.stderr.split()), done.stderr


def test_a_run_is_compressed_and_models_are_evaluated_by_hand(home: Path, tmp_path: Path) -> None:
    run = next(r["id"] for r in reversed(runs()) if "test_accuracy" in (r["metrics"] or {}))
    rows = read(
        tally("compress", run, "--set", "candidates=weights8", "--out", str(tmp_path), "--json")
    )["candidates"]
    assert [row["name"] for row in rows] == ["weights8"]
    (one,) = read(
        tally("evaluate", str(tmp_path / "weights8.tflite"), "digits", "--json")
    )["candidates"]  # fmt: skip
    assert one["test_accuracy"] == rows[0]["test_accuracy"] and one["bytes"] == rows[0]["bytes"]
    (champion,) = read(tally("evaluate", MODEL, "digits", "--json"))["candidates"]
    assert champion["name"] == Registry().champion(MODEL).name
    for model, data, says in (
        ("nosuch.tflite", "digits", "expected a .tflite file, got none"),
        (MODEL, "vader", "choose its own dataset"),
        ("019caa11-7000-7000-8000-0000000000aa", "digits", "expected"),
    ):
        done = tally("evaluate", model, data)
        assert done.returncode != 0 and says in " ".join(done.stderr.split()), done.stderr
        assert "Traceback" not in done.stderr
