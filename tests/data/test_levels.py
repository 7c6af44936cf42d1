"""What says in a source which split something is for: no such name becomes a class."""

import shutil
import wave
from pathlib import Path

import numpy as np
import pytest

from helpers import made_sources as made
from tally.data import registry
from tally.data.format import Dataset, open_dataset
from tally.errors import DataError
from tally.spec import Spec

CASES = Path(__file__).with_name("cases") / "pictures"


def prepared(source: Path) -> Dataset:
    return open_dataset(registry.prepare(Spec(dataset=str(source)))[0])


def counts(dataset: Dataset) -> list[int]:
    return [len(dataset.splits[split]) for split in ("train", "test")]


def wavs(folder: Path, examples: int = 3) -> Path:
    random = np.random.default_rng(2)
    for name in ("no", "yes"):
        (folder / name).mkdir(parents=True)
        for k in range(examples):
            with wave.open(str(folder / name / f"{k}.wav"), "wb") as file:
                file.setparams((1, 2, 16_000, 0, "NONE", ""))
                file.writeframes(random.integers(-999, 999, 16_000, np.int16).tobytes())
    return folder


def documents(folder: Path, examples: int = 3) -> Path:
    return (made.documents(folder.parent / "whole", examples) / "train").rename(folder)


MAKERS = {
    "pictures": lambda folder: made.image_folders(folder, 3),
    "sounds": wavs,
    "texts": lambda folder: made.texts(folder, 3),
    "documents": documents,
}


def split(tmp_path: Path, kind: str, *names: str) -> Path:
    for name in names:
        MAKERS[kind](tmp_path / "f" / name)
        shutil.rmtree(tmp_path / "f" / "whole", ignore_errors=True)
    return tmp_path / "f"


def test_train_and_val_are_no_classes() -> None:
    dataset = prepared(CASES / "train-and-val")
    assert dataset.meta.class_names == ("horizontal", "vertical")
    assert counts(dataset) == [10, 6]
    assert "the validation split val is tested on: there is no test split" in dataset.said


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize(
    "names",
    [("train", "test"), ("Train", "Testing"), ("TRAINING", "dev"), ("training", "Valid")],
    ids=" ".join,
)
def test_folders_are_splits_however_they_are_written(tmp_path: Path, kind: str, names) -> None:
    dataset = prepared(split(tmp_path, kind, *names))
    assert len(dataset.meta.class_names) == (3 if kind == "pictures" else 2)
    assert counts(dataset) == [3 * len(dataset.meta.class_names)] * 2
    assert bool(dataset.said) == (kind == "pictures" or names[1].lower() in ("dev", "valid"))


@pytest.mark.parametrize("kind", MAKERS)
def test_a_validation_split_beside_a_test_split_is_left_out_and_said(tmp_path, kind) -> None:
    dataset = prepared(split(tmp_path, kind, "train", "test", "val", "more"))
    files = {"pictures": 9, "texts": 2, "documents": 8}.get(kind, 6)
    assert counts(dataset) == [3 * len(dataset.meta.class_names)] * 2
    assert dataset.left_out == {
        "files of the validation split val": files,
        "files of more/, which is no split": files,
    }


@pytest.mark.parametrize("kind", MAKERS)
def test_of_train_alone_some_are_held_out(tmp_path: Path, kind: str) -> None:
    dataset = prepared(split(tmp_path, kind, "Train"))
    assert sum(counts(dataset)) == 3 * len(dataset.meta.class_names) and min(counts(dataset)) > 0


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("train", "car", "plane"), "got train/ beside car/; a folder named like a split is no cl"),
        (("test", "val"), "expected train beside test, val, got none"),
        (("train", "Training", "test"), "expected one train split, got Training and train"),
        (("train", "test", "val", "dev"), "expected one validation split, got dev and val"),
    ],
)
def test_a_folder_named_like_a_split_is_never_a_class(tmp_path, tally_home, names, message) -> None:
    with pytest.raises(DataError, match=message) as caught:
        prepared(split(tmp_path, "pictures", *names))
    assert "\n" not in str(caught.value)
    assert not list(tally_home.glob("datasets/*"))


def test_a_class_of_pictures_named_like_a_split_is_refused(tmp_path: Path) -> None:
    folder = made.image_folders(tmp_path / "f")
    (folder / "cat").rename(folder / "train")
    with pytest.raises(DataError, match="got train/ beside dog/"):
        prepared(folder)


def test_pictures_of_a_split_without_classes_are_refused(tmp_path: Path) -> None:
    folder = made.image_folders(tmp_path / "f")
    shutil.rmtree(folder / "owl")
    (folder / "cat").rename(folder / "train")
    (folder / "dog").rename(folder / "test")
    with pytest.raises(DataError, match="train: expected folders of pictures named like their"):
        prepared(folder)


def test_texts_named_like_splits_are_refused(tmp_path: Path) -> None:
    folder = made.texts(tmp_path / "f")
    (folder / "ham.txt").rename(folder / "Train.txt")
    with pytest.raises(DataError, match=r"expected a file a class, got Train\.txt"):
        prepared(folder)


def test_a_validation_list_of_sounds_is_not_trained_on(tmp_path: Path) -> None:
    folder = wavs(tmp_path / "f")
    (folder / "validation_list.txt").write_text("no/0.wav\nyes/1.wav\n")
    dataset = prepared(folder)
    assert counts(dataset) == [4, 2]
    assert dataset.said == ("validation_list.txt is tested on: there is no testing_list.txt",)
    (folder / "testing_list.txt").write_text("no/1.wav\nyes/2.wav\n")
    dataset = prepared(folder)
    assert counts(dataset) == [2, 2]
    assert dataset.left_out == {"files of validation_list.txt": 2}


def rows(*values: int, split: str = "") -> str:
    lines = [f"{value},{value % 2}{split and ','}{split}" for value in values]
    return "\n".join([f"a,label{split and ',split'}", *lines, ""])


def test_tables_named_like_splits_are_splits(tmp_path: Path) -> None:
    folder = tmp_path / "f"
    folder.mkdir()
    (folder / "Train.csv").write_text(rows(*range(8)))
    (folder / "val.CSV").write_text(rows(20, 21))
    dataset = prepared(folder)
    assert counts(dataset) == [8, 2]
    assert dataset.said == ("the validation split val.CSV is tested on: there is no test split",)
    (folder / "test.csv").write_text(rows(11, 12, 13))
    (folder / "other.csv").write_text("x")
    dataset = prepared(folder)
    x, y = dataset.splits["test"].gather(np.arange(3))
    assert (x.ravel().tolist(), y.tolist()) == ([11, 12, 13], [1, 0, 1])
    assert dataset.left_out == {
        "files of the validation split val.CSV": 1, "tables that are not named like a split": 1,
    }  # fmt: skip
    (folder / "test.csv").write_text("a\n1\n")
    with pytest.raises(DataError, match="one of them label, got 'a'"):
        prepared(folder)
    (folder / "test.csv").write_text("b,label\n1,1\n")
    with pytest.raises(DataError, match=r"expected the columns of Train\.csv \(a,label\), got b,l"):
        prepared(folder)


def test_a_column_says_the_splits_in_any_words_and_validation_is_not_trained_on(tmp_path) -> None:
    path = tmp_path / "t.csv"
    train, valid = rows(*range(8), split="Training"), rows(8, 9, split="valid").partition("\n")[2]
    path.write_text(train + valid)
    dataset = prepared(path)
    assert counts(dataset) == [8, 2]
    assert "2 rows of the validation split are tested on" in dataset.said[0]
    path.write_text(train + valid + rows(11, 12, 13, split="test").partition("\n")[2])
    dataset = prepared(path)
    assert counts(dataset) == [8, 3] and dataset.left_out == {"rows of the validation split": 2}
    assert dataset.splits["test"].gather(np.arange(3))[0].ravel().tolist() == [11, 12, 13]


def test_an_archives_validation_split_is_left_out_and_said(tmp_path: Path) -> None:
    x, y = made.pictures(4)
    dataset = prepared(made.npz(tmp_path / "x.npz", x_valid=x, y_valid=y))
    assert counts(dataset) == [30, 9]
    assert dataset.left_out == {"examples of the validation split x_valid": 4}
