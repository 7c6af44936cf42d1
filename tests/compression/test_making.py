"""Candidates are made in the converter's own process and run on ai-edge-litert."""

import json
import signal
from pathlib import Path

import numpy as np
import psutil
import pytest

from tally.compression import converter, making, saved
from tally.compression.converter import Converter, Job
from tally.compression.recipe import parse_all
from tally.compression.running import Runner
from tally.compression.tuning import Tuning
from tally.data.content import Chunk, Content, Meta
from tally.data.format import Dataset, open_dataset, write
from tally.errors import DataError

SHAPE = (6, 4)
LINEAGE = {"run": "r", "fingerprint": "f"}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Sequences whose class is the feature with the largest sum."""
    generator = np.random.default_rng(1)

    def chunks():
        for split, count in (("train", 600), ("test", 200)):
            x = generator.normal(size=(count, *SHAPE)).astype(np.float32)
            yield Chunk(split, x, x.sum(axis=1)[:, :3].argmax(axis=1).astype(np.int64))

    meta = Meta("sums", "sequence", SHAPE, "float32", 1, ("a", "b", "c"))
    folder = tmp_path_factory.mktemp("sums") / "dataset"
    write(folder, Content(meta, chunks), {})
    return open_dataset(folder)


@pytest.fixture(scope="module")
def model(dataset: Dataset):
    import keras

    from tally.compression.recipe import parse
    from tally.compression.tuning import prune

    keras.utils.set_random_seed(4)
    made = keras.Sequential(
        [
            keras.Input(SHAPE),
            keras.layers.LSTM(24),
            keras.layers.Dense(24, activation="relu"),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )
    how = Tuning(epochs=25, batch_size=50, learning_rate=0.01)
    prune(made, parse("float32"), dataset.splits["train"], dataset.meta, how)
    return made


@pytest.fixture(scope="module")
def candidates(model, dataset: Dataset, tmp_path_factory: pytest.TempPathFactory):
    words = "float32 float16 dynamic int8 weights8 weights4 pruned75+int8 structured50+float32"
    with Converter() as converter:
        found = making.make(
            model,
            dataset,
            parse_all(words + " two_of_four"),
            tmp_path_factory.mktemp("candidates"),
            how=Tuning(epochs=3, batch_size=50, learning_rate=0.003),
            converter=converter,
            lineage=LINEAGE,
        )
    return {candidate.recipe.name: candidate for candidate in found}


def test_each_base_is_left_as_a_saved_model_too(candidates, model, dataset: Dataset) -> None:
    import tensorflow as tf

    folder = candidates["float32"].file.parent / making.SAVED
    assert sorted(p.name for p in folder.iterdir()) == [
        "model", "pruned75", "structured50", "two_of_four",
    ]  # fmt: skip
    x = dataset.splits["test"].gather(np.arange(7))[0]
    loaded = tf.saved_model.load(str(folder / "model")).signatures["serving_default"]
    found = loaded(inputs=tf.constant(x))["outputs"].numpy()
    np.testing.assert_allclose(found, np.asarray(model(x, training=False)), atol=1e-5)


def accuracy(file: Path, dataset: Dataset) -> float:
    test = dataset.splits["test"]
    probabilities = Runner(file, dataset.meta).answers(test)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-3)
    return float((probabilities.argmax(axis=1) == test.targets()).mean())


def test_every_candidate_answers_nearly_as_the_model_does(candidates, model, dataset) -> None:
    test = dataset.splits["test"]
    x, y = test.gather(np.arange(len(test)))
    expected = (np.asarray(model(x)).argmax(axis=1) == y).mean()
    assert expected > 0.85
    for name, candidate in candidates.items():
        assert not candidate.failed, (name, candidate.failed)
        assert accuracy(candidate.file, dataset) > expected - 0.12, name
    outputs = Runner(candidates["float32"].file, dataset.meta).batch(x)
    np.testing.assert_allclose(outputs, model(x), atol=1e-5)


def test_a_candidate_is_weighed_and_knows_where_it_comes_from(candidates) -> None:
    assert candidates["float32"].sparsity < 0.05 < 0.70 < candidates["pruned75+int8"].sparsity
    assert 0.4 < candidates["two_of_four"].sparsity < 0.55
    assert candidates["structured50+float32"].parameters < candidates["float32"].parameters / 2
    for candidate in candidates.values():
        assert candidate.bytes == candidate.file.stat().st_size > candidate.compressed_bytes > 0
        assert candidate.lineage["run"] == "r"
        assert candidate.lineage["quantisation"] == candidate.recipe.quantisation
    assert candidates["pruned75+int8"].lineage["tuning_epochs"] == 3
    assert candidates["pruned75+int8"].compressed_bytes < candidates["int8"].compressed_bytes
    folder = candidates["float32"].file.parent
    files = sorted(f.name for f in folder.glob("*.tflite"))
    assert files == sorted(f"{name}.tflite" for name in candidates)
    assert making.read(folder) == list(candidates.values())
    with pytest.raises(DataError, match=r"expected the candidates that compress made"):
        making.read(folder / "none")


def test_a_model_of_another_shape_is_refused(candidates, dataset: Dataset) -> None:
    from dataclasses import replace

    file = candidates["float32"].file
    other = replace(dataset.meta, name="others", class_names=("a", "b"))
    with pytest.raises(DataError, match=r"expected a model from \(6, 4\) to \(2,\), .* others"):
        Runner(file, other)
    torn = file.with_name("torn.bin")
    torn.write_bytes(file.read_bytes()[:100])
    with pytest.raises(DataError, match=r"torn.bin: expected a \.tflite model"):
        Runner(torn, dataset.meta)
    torn.unlink()


@pytest.fixture(scope="module")
def looped(model, dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("looped") / "saved"
    saved.save(model, dataset.meta, folder, unroll=False, batch=1)
    np.save(folder.with_name("calibration.npy"), making._calibration(dataset))
    return folder


def jobs(folder: Path, *quantisations: str) -> list[Job]:
    places = [str(folder.with_name(f"{q}.tflite")) for q in quantisations]
    calibration = str(folder.with_name("calibration.npy"))
    return [
        Job(str(folder), q, calibration, places[0], place)
        for q, place in zip(quantisations, places, strict=True)
    ]


def test_a_converter_that_crashes_fails_its_candidate_and_the_others_are_made(looped: Path) -> None:
    asked = jobs(looped, "float32", "int8", "dynamic")
    heard: list[tuple[str, bool]] = []
    with Converter() as process:
        found = process.convert(asked, lambda job, why: heard.append((job.quantisation, not why)))
    assert found[asked[1].file] == "the converter was ended by SIGSEGV"
    assert not Path(asked[1].file).exists()
    assert heard == [("float32", True), ("int8", False), ("dynamic", True)]
    assert all(Path(asked[k].file).stat().st_size > 1000 for k in (0, 2))


def test_a_converter_that_hangs_is_ended_at_its_deadline(tmp_path: Path) -> None:
    import os

    calibration = tmp_path / "saved"
    os.mkfifo(calibration)  # opening it waits for a writer that never comes
    job = Job("", "weights4", "", str(calibration), str(tmp_path / "x.tflite"))
    with Converter(ahead=False) as process:
        assert process.convert([job], deadline_seconds=3.0) == {
            job.file: "the converter took more than 3 s"
        }


def test_a_converter_that_dies_before_it_is_asked_costs_one_job(looped: Path) -> None:
    asked = jobs(looped, "float32", "float16")
    with Converter() as process:
        process._process.kill()
        process._process.wait()
        found = process.convert(asked)
    assert found == {asked[0].file: "the converter was ended by SIGKILL", asked[1].file: ""}


def test_no_process_outlives_its_converter() -> None:
    with Converter() as process:
        own = psutil.Process(process._process.pid)
    assert not own.is_running()


def test_what_the_converter_refuses_is_said_in_one_line(tmp_path: Path) -> None:
    job = Job(str(tmp_path / "none"), "float32", "", "", str(tmp_path / "x.tflite"))
    with Converter() as process:
        why = process.convert([job])[job.file]
    assert "SavedModel file does not exist" in why and "\n" not in why
    assert converter._death(-signal.SIGKILL, []) == "was ended by SIGKILL"
    assert converter._death(3, ["a", "last word"]) == "ended with 3: last word"
    assert json.dumps(why)
