"""Targets of any task: what is written comes back, whatever shapes and however many shards."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.s3 import KEYS, serving_bucket
from helpers.tasks.made import (
    PICTURES,
    of_boxes,
    of_heat,
    pictures,
    register,
    some_boxes,
    some_heat,
)  # fmt: skip
from tally import storage
from tally.data import augment, copies, shards
from tally.data.format import Chunk, Content, open_dataset, write
from tally.errors import DataError, SpecError
from tally.tasks import targets
from tally.tasks.targets import Ragged
from tally.tasks.task import Target

EXAMPLES = 23


@pytest.fixture(scope="module", autouse=True)
def registered():
    with pytest.MonkeyPatch.context() as patch:
        register(patch)
        yield


@pytest.fixture(scope="module", params=[1 << 20, 5 * 64], ids=["one shard", "several shards"])
def folders(request, tmp_path_factory):
    """Datasets of boxes and of heat, of examples that take 64 bytes."""
    folder = tmp_path_factory.mktemp("targets")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "SHARD_BYTES", request.param)
        of_boxes(folder / "boxes", pictures(EXAMPLES), some_boxes(EXAMPLES))
        of_heat(folder / "heat", pictures(EXAMPLES), some_heat(EXAMPLES))
    return folder


@settings(max_examples=40, deadline=None)
@given(indices=st.lists(st.integers(0, EXAMPLES - 1), max_size=30))
def test_rows_come_back_padded_in_any_order_with_their_mask(folders, indices):
    train = open_dataset(folders / "boxes", verify=("train", "test")).splits["train"]
    x, y = train.gather(np.array(indices, int))
    wanted, longest = some_boxes(EXAMPLES), max(len(rows) for rows in some_boxes(EXAMPLES))
    assert (x == pictures(EXAMPLES)[indices]).all()
    assert set(y) == {"boxes", "boxes_mask"}
    assert y["boxes"].shape == (len(indices), longest, 4) and y["boxes"].dtype == np.float32
    assert y["boxes_mask"].shape == (len(indices), longest)
    for place, k in enumerate(indices):
        count = len(wanted[k])
        assert y["boxes_mask"][place].tolist() == [1.0] * count + [0.0] * (longest - count)
        assert (y["boxes"][place, :count] == wanted[k]).all()
        assert not y["boxes"][place, count:].any()


@settings(max_examples=20, deadline=None)
@given(indices=st.lists(st.integers(0, EXAMPLES - 1), max_size=30))
def test_arrays_by_name_come_back_in_any_order(folders, indices):
    train = open_dataset(folders / "heat", verify=("train", "test")).splits["train"]
    x, y = train.gather(np.array(indices, int))
    wanted = some_heat(EXAMPLES)
    assert (x == pictures(EXAMPLES)[indices]).all()
    assert {name: each.dtype.name for name, each in y.items()} == {
        "heat": "float32",
        "known": "bool",
    }
    assert all((y[name] == each[indices]).all() for name, each in wanted.items())


@pytest.mark.parametrize("task", ["boxes", "heat"])
def test_all_targets_and_some_are_those_that_come_with_the_examples(folders, task):
    train = open_dataset(folders / task).splits["train"]
    _, all_of_them = train.gather(np.arange(EXAMPLES))
    for begin, end in ((0, None), (0, 4), (4, 19), (19, 99), (7, 7)):
        found = train.targets(begin, end)
        for name, each in all_of_them.items():
            assert (found[name] == each[begin:end]).all() and found[name].dtype == each.dtype


@pytest.mark.parametrize("task", ["boxes", "heat"])
def test_what_is_gathered_is_a_copy(folders, task):
    train = open_dataset(folders / task).splits["train"]
    for each in train.gather(np.array([3, 1]))[1].values():
        each[:] = 0
    assert all(each.any() for each in train.gather(np.array([3, 1]))[1].values())


def test_a_shard_ends_where_its_examples_or_their_rows_are_many_enough(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "SHARD_BYTES", 8 * 128)
    of_heat(tmp_path / "heat", pictures(20), some_heat(20))  # 128 bytes of heat, 64 of picture
    full = [np.ones((60, 4), "f4")] * 7  # of 960 bytes each
    of_boxes(tmp_path / "boxes", pictures(21), [*full, *some_boxes(14, most=1)])
    counts = {
        task: [s["examples"] for s in described(tmp_path / task)["shards"] if s["split"] == "train"]
        for task in ("heat", "boxes")
    }
    assert counts == {"heat": [8, 8, 4], "boxes": [7, 14]}


def described(folder: Path) -> dict:
    return json.loads((folder / "dataset.json").read_text())


@pytest.mark.parametrize("most", [0, 1], ids=["no rows at all", "some"])
def test_a_split_without_a_row_has_one_that_its_mask_leaves_out(tmp_path, most):
    folder = of_boxes(tmp_path / "d", pictures(9), some_boxes(9, most=most))
    y = open_dataset(folder).splits["train"].gather(np.arange(9))[1]
    assert y["boxes"].shape == (9, 1, 4) and y["boxes_mask"].shape == (9, 1)
    assert y["boxes_mask"].any() == bool(most)


def test_a_dataset_keeps_its_task_and_facts_and_counts_no_classes(folders):
    dataset = open_dataset(folders / "boxes")
    scale = max(rows.max(initial=0) for rows in some_boxes(EXAMPLES))
    assert dataset.meta.task == "boxes" and dataset.meta.learnt == {"scale": float(scale)}
    found = described(folders / "boxes")
    assert found["splits"] == {"train": {"examples": EXAMPLES}, "test": {"examples": 5}}
    assert [part for part in found["shards"][0] if "." in part] == ["y.boxes", "y.boxes.offsets"]


def test_a_copy_from_the_store_is_the_same(folders, tmp_path, monkeypatch):
    dataset = open_dataset(folders / "boxes")
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    with serving_bucket("tally") as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", url)
        place = storage.location(f"s3://tally/{folders.name}/boxes")
        copies.publish(folders / "boxes", place)
        copies.bring(tmp_path / "copy", dataset.fingerprint, copies.from_bucket(place), 2)
    copy = open_dataset(tmp_path / "copy", verify=("train", "test"))
    assert copy.meta == dataset.meta
    found, wanted = (of.splits["train"].targets() for of in (copy, dataset))
    assert all((found[name] == each).all() for name, each in wanted.items())


@pytest.mark.parametrize("part", ["y.boxes", "y.boxes.offsets"])
def test_a_damaged_file_of_a_target_is_found(tmp_path, part):
    folder = of_boxes(tmp_path / "d", pictures(9), some_boxes(9))
    file = folder / f"train-00000-{part}.npy"
    whole = file.read_bytes()
    file.write_bytes(whole[:-8])
    with pytest.raises(DataError, match=rf"{part}.npy: expected .*; delete the folder"):
        open_dataset(folder)
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(DataError, match=rf"{part}.npy: expected .*; delete the folder"):
        open_dataset(folder, verify=("train",))


GOOD = {"heat": np.zeros((2, 4, 4, 2)), "known": np.ones((2, 4, 4), bool)}
BAD = {
    "another name": ("heat", {"heat": GOOD["heat"]}, "expected targets heat, known, got heat;"),
    "no names": ("heat", np.zeros(2), "expected targets heat, known, got of one array;"),
    "another shape": (
        "heat", GOOD | {"heat": np.zeros((2, 4))},
        r"one heat an example, got heat float64 of shape \(2, 4\) for 2 examples; make them numbers"
        r" of shape \(examples, 4, 4, 2\)",
    ),
    "too few": ("heat", {k: v[:1] for k, v in GOOD.items()}, "one heat an example.* for 2 exam"),
    "another type": ("heat", GOOD | {"known": np.ones((2, 4, 4))}, "one known an example, got"),
    "what the task refuses": ("heat", GOOD | {"known": ~GOOD["known"]}, "expected a known place"),
    "NaN": ("heat", GOOD | {"heat": GOOD["heat"] + np.nan}, "expected finite heat"),
    "not ragged": ("boxes", {"boxes": np.zeros((2, 4))}, r"with any number of rows.*Ragged\.of"),
    "too few of ragged": ("boxes", {"boxes": Ragged.of([np.zeros((3, 4))])}, "one boxes an exam"),
    "rows of another shape": (
        "boxes", {"boxes": Ragged.of([np.zeros((3, 5))] * 2)}, r"numbers of shape \(rows, 4\)"
    ),
    "a box upside down": (
        "boxes", {"boxes": Ragged.of([np.array([[3, 2, 1, 0]])] * 2)}, "expected boxes left, top"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_target_is_one_line_and_leaves_nothing(tmp_path, name):
    task, target, message = BAD[name]
    content = Content(
        PICTURES.learning(task, {"scale": 1.0}), lambda: iter([Chunk("train", pictures(2), target)])
    )
    with pytest.raises(DataError, match=message) as caught:
        write(tmp_path / "datasets" / "d", content, {})
    assert "\n" not in str(caught.value) and ";" in str(caught.value)
    assert list((tmp_path / "datasets").iterdir()) == []


def test_pictures_are_not_turned_under_targets_that_say_where_something_is():
    content = Content(PICTURES.learning("boxes", {"scale": 1.0}), lambda: iter([]))
    with pytest.raises(SpecError, match=r"expected 0 or 1 for pictures \(boxes.*got 2; pass"):
        augment.enlarged(content, 2)
    assert augment.enlarged(content, 1) is content


def test_copies_of_pictures_keep_their_targets():
    x = np.repeat(np.arange(1, 6, dtype=np.uint8) * 40, 64).reshape(5, 8, 8, 1)
    y = {"rows": Ragged.of([np.full((k, 1), k) for k in range(1, 6)]), "k": np.arange(1, 6)}
    chunks = list(augment.copies(x, y, 9, (8, 8), np.random.default_rng(0)))
    assert sum(len(chunk.x) for chunk in chunks) == 45
    for chunk in chunks:
        k = chunk.x[:, 4, 4, 0] // 40
        assert chunk.y["k"].tolist() == k.tolist()
        assert np.diff(chunk.y["rows"].offsets).tolist() == k.tolist()
        assert chunk.y["rows"].values[:, 0].tolist() == np.repeat(k, k).tolist()


@pytest.mark.parametrize(
    "target",
    [
        Target("float32", ragged=True),
        {"a b": Target("int32")},
        {"../a": Target("int32")},
        {"": Target("int32")},
        {"a": Target("int32", ragged=True), "a_mask": Target("int32")},
    ],
    ids=["ragged without a name", "a space", "another folder", "empty", "a mask's name"],
)
def test_names_that_files_and_batches_cannot_have_are_refused(target):
    with pytest.raises(SpecError, match="task t: expected targets named by letters"):
        targets.by_name(target, "t")


def test_some_examples_rows_are_those_of_their_numbers():
    given = [np.full((k, 2), k) for k in (2, 0, 3, 1)]
    ragged = Ragged.of(given)
    assert (len(ragged), ragged.longest) == (4, 3)
    for which in (slice(1, 3), slice(0, 0), np.array([3, 3, 0, 1]), np.array([], int), slice(None)):
        found, wanted = ragged[which], [given[k] for k in np.arange(4)[which]]
        assert len(found) == len(wanted)
        assert np.diff(found.offsets).tolist() == [len(rows) for rows in wanted]
        assert (found.values == np.concatenate([np.empty((0, 2)), *wanted])).all()
