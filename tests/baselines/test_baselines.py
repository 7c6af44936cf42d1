"""Baselines: what they answer, that answers are made once, and who gets none."""

import json
from pathlib import Path

import numpy as np
import pytest

from tally.baselines import ngrams, registry, spectrum
from tally.data.audio import RATE_HZ, SAMPLES
from tally.data.content import Chunk, Content, Meta
from tally.data.format import Dataset, open_dataset, write
from tally.data.text import Row, text_content
from tally.errors import DataError, SpecError

GOOD, BAD = ("lovely", "joyful", "bright", "kind"), ("awful", "gloomy", "dreary", "cruel")


def texts_of(folder: Path, rows: list[Row]) -> Dataset:
    write(folder / "d", text_content("words", ("bad", "good"), lambda: rows, 32), {})
    return open_dataset(folder / "d")


def sentences() -> list[Row]:
    """Sentences with one word that decides; those of the test split are other sentences."""
    draw = np.random.default_rng(0)
    rows: list[Row] = []
    for number in range(160):
        label = number % 2
        word = draw.choice(GOOD if label else BAD)
        others = "".join(draw.choice(list("aeiourstn"), 6))
        rows.append(("test" if number >= 120 else "train", label, f"{others} {word} day"))
    return rows


def test_ngrams_learn_what_decides(tmp_path: Path) -> None:
    dataset = texts_of(tmp_path, sentences())
    found = ngrams.answers(dataset)
    assert (found.predicted == dataset.splits["test"].targets()).mean() > 0.95
    assert found.described.startswith("logistic regression on character n-grams")
    again = ngrams.answers(dataset)
    assert (again.predicted == found.predicted).all() and again.described == found.described


def test_ngrams_see_the_texts_that_tokens_were_made_of(tmp_path: Path) -> None:
    rows = sentences()
    dataset = texts_of(tmp_path, rows)
    for split in ("train", "test"):
        assert ngrams._texts(dataset.splits[split], dataset.meta) == [
            text for which, _, text in rows if which == split
        ]


@pytest.mark.parametrize("labels", [[1] * 12, [0] + [1] * 11], ids=["one class", "one of a class"])
def test_ngrams_answer_where_there_is_nothing_to_tune_by(tmp_path: Path, labels: list[int]) -> None:
    rows: list[Row] = [("train", label, f"text {k}") for k, label in enumerate(labels)]
    rows += [("train", 0, "x")] if 0 not in labels else []
    rows += [("test", 1, "text 3"), ("test", 0, "text 4")]
    found = ngrams.answers(texts_of(tmp_path, rows))
    assert found.predicted.shape == (2,) and set(found.predicted.tolist()) <= {0, 1}


def test_answers_are_made_once_for_a_dataset(
    tmp_path: Path, tally_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = texts_of(tmp_path, sentences())
    assert registry.missing_seconds("ngrams", dataset) > 0
    first = registry.answered("ngrams", dataset)
    assert not first.kept and registry.missing_seconds("ngrams", dataset) == 0
    with monkeypatch.context() as patched:
        patched.setattr(ngrams, "answers", lambda dataset: pytest.fail("made again"))
        second = registry.answered("ngrams", dataset)
    assert second.kept and second.seconds == first.seconds
    assert (second.predicted == first.predicted).all()
    monkeypatch.setattr(ngrams, "VERSION", ngrams.VERSION + 1)
    assert not registry.answered("ngrams", dataset).kept


@pytest.mark.parametrize("damage", ["", "{}", "[1]", '{"schema": 99}', "short"])
def test_damaged_answers_are_made_again(tmp_path: Path, tally_home: Path, damage: str) -> None:
    dataset = texts_of(tmp_path, sentences())
    made = registry.answered("ngrams", dataset)
    (file,) = (tally_home / "baselines").glob("ngrams-*.json")
    if damage == "short":
        document = json.loads(file.read_text())
        damage = json.dumps(document | {"predicted": document["predicted"][:-1]})
    file.write_text(damage)
    again = registry.answered("ngrams", dataset)
    assert not again.kept and (again.predicted == made.predicted).all()
    assert registry.answered("ngrams", dataset).kept


def test_no_baseline_costs_nothing(tmp_path: Path) -> None:
    dataset = texts_of(tmp_path, sentences())
    registry.check("", dataset.meta)
    assert registry.missing_seconds("", dataset) == 0


def tones(folder: Path) -> Dataset:
    """Two classes of tones in noise, high and low."""

    def chunks():
        random = np.random.default_rng(0)
        for split, count in (("train", 60), ("test", 40)):
            y = np.arange(count) % 2
            hertz = np.where(y, 900.0, 300.0)[:, None] * random.uniform(0.8, 1.2, (count, 1))
            wave = np.sin(2 * np.pi * hertz * np.arange(SAMPLES) / RATE_HZ)
            loud = random.uniform(0.05, 0.9, (count, 1))
            x = 20_000 * loud * (wave + 0.1 * random.normal(size=wave.shape))
            yield Chunk(split, x.astype(np.int16), y)

    meta = Meta("tones", "audio", (SAMPLES,), "int16", 1 / 32_768, ("low", "high"))
    write(folder / "d", Content(meta, chunks), {})
    return open_dataset(folder / "d")


def test_the_spectrum_tells_tones_apart(tmp_path: Path) -> None:
    dataset = tones(tmp_path)
    found = spectrum.answers(dataset)
    assert (found.predicted == dataset.splits["test"].targets()).mean() > 0.95
    assert found.described.startswith("logistic regression on the mean spectrum")


def test_who_gets_none_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="got ngram; did you mean ngrams"):
        registry.find("ngram")
    pictures = Meta("p", "image", (4, 4, 1), "uint8", 1.0, ("a", "b"))

    def chunks():
        for split in ("train", "test"):
            x = np.arange(32, dtype=np.uint8).reshape(2, 4, 4, 1)
            yield Chunk(split, x, np.array([0, 1]))

    write(tmp_path / "p", Content(pictures, chunks), {})
    with pytest.raises(DataError, match="baseline=ngrams: expected text, got image in dataset p"):
        registry.check("ngrams", open_dataset(tmp_path / "p").meta)
    with pytest.raises(DataError, match="baseline=spectrum: expected recordings, got image"):
        registry.check("spectrum", pictures)
