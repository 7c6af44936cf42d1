"""The best candidate is promoted on merit alone, and a registry that is damaged loses nothing."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.made_signs import dataset_of
from helpers.made_step import made_step
from tally.compression import making
from tally.compression.converter import Converter
from tally.compression.recipe import parse_all
from tally.compression.tuning import Tuning
from tally.data.format import Dataset
from tally.evaluation.registry import Registry
from tally.spec import Spec, validate
from tally.steps import promoting
from tally.steps.measuring import Measured, measure
from tally.steps.promoting import Contest, promote

MODEL = "cnn-signs"


def model_of(size: int, slope: float) -> Any:
    """Right by the first value as far as the slope goes; the last value is noise to it."""
    import keras

    made = keras.Sequential(
        [
            keras.Input((1, size)),
            keras.layers.Flatten(),
            keras.layers.Dense(2, activation="softmax"),
        ]
    )
    weights = np.zeros((size, 2), np.float32)
    weights[0], weights[-1] = (-slope, slope), (-1, 1)
    made.set_weights([weights, np.zeros(2, np.float32)])
    return made


@dataclass(frozen=True)
class Made:
    """A dataset and measured candidates of models of which one is much better."""

    dataset: Dataset
    good: list[Measured]
    bad: list[Measured]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    dataset = dataset_of(tmp_path_factory.mktemp("signs"))

    def candidates(slope: float) -> list[Measured]:
        folder = tmp_path_factory.mktemp("candidates")
        with Converter() as converter:
            found = making.make(
                model_of(4, slope), dataset, parse_all("float32"), folder,
                how=Tuning(1), converter=converter, lineage={},
            )  # fmt: skip
        return measure(found, dataset, None)

    return Made(dataset, candidates(8.0), candidates(0.5))


@pytest.fixture
def ask(made: Made, tmp_path: Path):
    """Promote as a run's evaluate step does."""
    (tmp_path / "weights.safetensors").write_bytes(b"w")

    def asking(
        run: str, measured: list[Measured], dataset: Dataset | None = None, **settings: str
    ) -> dict[str, Any]:
        here = made_step(tmp_path, "evaluate", run_id=run, pipeline="cnn", submit_pid=0)
        asked = validate("cnn", settings) if settings else Spec()
        contest = Contest(asked, dataset or made.dataset, measured, {"schema": 2}, tmp_path)
        return promote(here, contest)

    return asking


def test_the_first_champion_needs_no_other(made: Made, ask) -> None:
    assert made.good[0].row["test_accuracy"] > made.bad[0].row["test_accuracy"] + 0.1
    found = ask("r1", made.bad)
    assert found["promote"] and found["champion"] is None and found["drift"] is None
    champion = Registry().champion(MODEL)
    assert champion.name == found["version"]
    assert champion.lineage["run"] == "r1" and champion.lineage["candidate"] == "float32"
    assert champion.lineage["dataset"]["fingerprint"] == made.dataset.fingerprint
    assert champion.lineage["metrics"]["test_accuracy"] == made.bad[0].row["test_accuracy"]
    assert sorted(champion.files) == ["evaluation.json", "model.tflite", "weights.safetensors"]


def test_only_what_beats_the_champion_beyond_chance_is_promoted(made: Made, ask) -> None:
    first = ask("r1", made.bad)
    again = ask("r2", made.bad)
    assert not again["promote"] and again["version"] is None
    assert again["champion"] == first["version"] and again["reason"]
    better = ask("r3", made.good)
    assert better["promote"] and better["champion"] == first["version"]
    assert Registry().champion(MODEL).name == better["version"]
    assert not ask("r4", made.bad)["promote"]
    assert len(Registry().versions(MODEL)) == 2  # what lost is not kept


def test_a_step_that_was_ended_after_it_promoted_says_the_same_again(made: Made, ask) -> None:
    first = ask("r1", made.good)
    again = ask("r1", made.good)
    assert again["promote"] and again["version"] == first["version"]
    assert again["reason"] == "promoted by this run already"
    assert len(Registry().versions(MODEL)) == 1


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"promote": "false"}, "promote=false"),
        ({"max_model_bytes": "10"}, "bytes"),
        ({"max_latency_seconds": "1e-9"}, "ms an example"),
        ({"max_usd_per_million": "1e-12"}, "million"),
    ],
)
def test_limits_of_the_user_hold(made: Made, ask, settings: dict[str, str], why: str) -> None:
    found = ask("r1", made.good, **settings)
    assert not found["promote"] and why in found["reason"]
    assert Registry().champion(MODEL) is None


@pytest.mark.parametrize("what", ["champion.json", "version.json", "model.tflite"])
def test_with_a_damaged_champion_nothing_is_promoted_and_it_says_so(
    made: Made, ask, what: str
) -> None:
    first = ask("r1", made.bad)
    place = Registry().place / MODEL
    version = place / "versions" / first["version"]
    damaged = place / what if what == "champion.json" else version / what
    damaged.write_bytes(b"{rotten")
    found = ask("r2", made.good)
    assert not found["promote"] and found["reason"].startswith("not promoted: ")
    assert what in found["reason"] and "tally rollback" in found["reason"]
    assert damaged.read_bytes() == b"{rotten"  # nothing is written over


def test_a_champion_of_another_shape_is_named(made: Made, ask, tmp_path: Path) -> None:
    ask("r1", made.good)
    found = ask("r2", made.good, dataset_of(tmp_path, size=6))
    assert not found["promote"] and "choose its own dataset" in found["reason"]


def test_who_loses_a_promotion_at_once_decides_anew(
    made: Made, ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, others = promoting._add, iter(["other"])

    def slow(*arguments: Any) -> Any:
        version = whole(*arguments)
        monkeypatch.setattr(promoting, "_add", whole)
        if run := next(others, None):
            assert ask(run, made.good)["promote"]
        return version

    monkeypatch.setattr(promoting, "_add", slow)
    found = ask("r1", made.bad)
    assert not found["promote"]  # beside the other's, which is better, it has no merit left
    champion = Registry().champion(MODEL)
    assert champion.lineage["run"] == "other" and found["champion"] == champion.name


def test_drift_against_the_champions_data_is_told(made: Made, ask, tmp_path: Path) -> None:
    ask("r1", made.good)
    calm = ask("r2", made.good)["drift"]
    shifted = ask("r3", made.good, dataset_of(tmp_path, shift=2.0))["drift"]
    assert calm["features"] < 0.05 < 0.2 < shifted["features"]
    assert json.dumps(shifted) and shifted["word"] != calm["word"]


def test_a_candidate_that_failed_is_no_contender(made: Made, ask) -> None:
    (int8,) = parse_all("int8")
    candidate = replace(made.good[0].candidate, recipe=int8, file=None, failed="it crashed")
    failed = replace(
        made.good[0],
        candidate=candidate,
        row={"name": "int8", "failed": "it crashed"},
        records=None,
    )
    assert not ask("r1", [failed])["promote"]
    found = ask("r2", [failed, *made.bad])
    assert found["promote"] and found["candidate"] == "float32"
