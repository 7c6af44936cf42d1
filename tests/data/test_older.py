"""Datasets that an older Tally made, before there were tasks: they open, and are made the same."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from tally.data import registry, shards
from tally.data.format import Chunk, Content, Meta, open_dataset, write
from tally.spec import Spec

OLDER = Path(__file__).with_name("older")  # by commit 91b1954
META = Meta("little", "sequence", (2, 1), "float32", 1.0, ("a", "b"))
CSV_DATASET = "numbers-defff16acf24788d"  # by the same commit
USERS_DATASET = "mine-bb27269b18e7d7c3"
USER = """
import numpy as np
def dataset():
    x = np.arange(40 * 16, dtype=np.uint8).reshape(40, 4, 4)
    return (x[:30], np.arange(30) % 3), (x[30:], np.arange(10) % 3)
"""


def content() -> Content:
    def chunks() -> Iterator[Chunk]:
        for split, count in (("train", 7), ("test", 2)):
            k = np.arange(count)
            yield Chunk(split, np.repeat(k, 2).reshape(-1, 2, 1).astype(np.float32), k % 2)

    return Content(META, chunks)


def test_an_older_dataset_opens():
    dataset = open_dataset(OLDER, verify=("train", "test"))
    assert dataset.meta == META and dataset.meta.task == "classification"
    x, y = dataset.splits["train"].gather(np.array([6, 0, 3]))
    assert x[:, 0, 0].tolist() == [6, 0, 3]
    assert y.tolist() == [0, 0, 1] and y.dtype == np.int32


def test_one_that_names_the_usual_task_is_the_same_dataset(tmp_path):
    folder = shutil.copytree(OLDER, tmp_path / "d")
    described = json.loads((folder / "dataset.json").read_text())
    described["meta"]["task"] = "classification"
    (folder / "dataset.json").write_text(json.dumps(described))
    dataset, older = open_dataset(folder), open_dataset(OLDER)
    assert (dataset.meta, dataset.fingerprint) == (older.meta, older.fingerprint)


def test_the_same_examples_give_the_same_bytes_as_then(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "SHARD_BYTES", 3 * 8)
    write(tmp_path / "d", content(), {"kind": "test"})
    names = sorted(path.name for path in OLDER.iterdir())
    assert sorted(path.name for path in (tmp_path / "d").iterdir()) == names
    for name in names:
        assert (tmp_path / "d" / name).read_bytes() == (OLDER / name).read_bytes(), name


def test_a_source_is_found_in_the_dataset_that_was_made_of_it_then(tmp_path):
    path = tmp_path / "numbers.csv"
    rows = [f"{k},{k % 3},{'xy'[k % 2]}" for k in range(10)]
    path.write_text("\n".join(["a,b,label", *rows, ""]))
    assert registry.prepare(Spec(dataset=str(path)))[0].name == CSV_DATASET


def test_a_users_arrays_are_found_there_too(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(USER)
    assert registry.prepare(Spec(dataset=str(path)))[0].name == USERS_DATASET


def test_what_a_task_learns_is_kept_and_makes_another_dataset(tmp_path):
    meta = replace(META, learnt={"scale": [1.0, 2.0]})
    write(tmp_path / "d", Content(meta, content().chunks), {})
    dataset = open_dataset(tmp_path / "d")
    assert dataset.meta == meta
    assert dataset.meta.facts == {"class_names": ("a", "b"), "scale": [1.0, 2.0]}
    assert dataset.fingerprint != open_dataset(OLDER).fingerprint
