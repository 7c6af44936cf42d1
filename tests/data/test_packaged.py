import subprocess
import sys

import numpy as np
import pytest

from tally.data import registry
from tally.data.augment import warp
from tally.data.format import open_dataset
from tally.data.packaged import digits, vader
from tally.errors import SpecError
from tally.spec import Spec


def opened(**settings):
    return open_dataset(registry.prepare(Spec(**settings))[0])


def everything(split):
    return split.gather(np.arange(len(split)))


def test_the_digits_are_scikit_learns():
    from sklearn.datasets import load_digits

    theirs = load_digits()
    x, y = digits.originals()
    assert (x[..., 0] == theirs.images).all()
    assert (y == theirs.target).all()


def test_digits_are_28_by_28_with_the_training_split_enlarged_twentyfold():
    dataset = opened()
    assert dataset.meta.input_shape == (28, 28, 1)
    assert (dataset.meta.input_dtype, dataset.meta.kind) == ("uint8", "image")
    assert (len(dataset.splits["train"]), len(dataset.splits["test"])) == (1437 * 20, 360)
    assert np.bincount(dataset.splits["test"].targets()).min() >= 34  # stratified


def test_augment_changes_the_training_split_only_and_keeps_the_originals_first():
    plain, enlarged = opened(augment=1), opened(augment=3)
    x, y = everything(plain.splits["train"])
    many_x, many_y = everything(enlarged.splits["train"])
    assert len(many_y) == 3 * len(y)
    assert (many_x[: len(y)] == x).all() and (many_y[: len(y)] == y).all()
    assert (np.bincount(many_y) == 3 * np.bincount(y)).all()
    for one, other in zip(
        everything(plain.splits["test"]), everything(enlarged.splits["test"]), strict=True
    ):
        assert (one == other).all()


def test_no_test_picture_is_among_the_training_originals():
    x, _ = digits.originals()
    dataset = opened(augment=1)
    train = {p.tobytes() for p in everything(dataset.splits["train"])[0]}
    test = {p.tobytes() for p in everything(dataset.splits["test"])[0]}
    assert len(train) + len(test) == len({p.tobytes() for p in x})
    assert not train & test


def test_digits_come_out_the_same_every_time(tmp_path, monkeypatch):
    first = opened()
    monkeypatch.setenv("TALLY_HOME", str(tmp_path / "other"))
    second = opened()
    assert first.folder != second.folder
    names = sorted(p.name for p in first.folder.glob("*.npy"))
    assert names
    for name in names:
        assert (first.folder / name).read_bytes() == (second.folder / name).read_bytes()


def test_warp_agrees_with_scipys_affine_transform():
    from scipy import ndimage

    picture = np.random.default_rng(0).random((1, 20, 20, 1), np.float32)
    angle, shift = 9.0, np.array([1.5, -2.0])
    radians = np.radians(angle)
    turn = np.array(
        [[np.cos(radians), np.sin(radians)], [-np.sin(radians), np.cos(radians)]]
    )  # rows down, columns right: counter-clockwise on screen
    centre = np.array([9.5, 9.5])
    theirs = ndimage.affine_transform(
        picture[0, ..., 0], turn, centre - turn @ (centre + shift), order=1, mode="grid-constant"
    )
    ours = warp(picture, angle, (shift[0], shift[1]), (20, 20))
    assert np.abs(ours[0, ..., 0] - theirs).max() < 1e-5


def test_warp_turns_counter_clockwise_and_shifts_down_and_right():
    picture = np.zeros((1, 9, 9, 1), np.uint8)
    picture[0, 4, 8] = 200  # at the right edge, in the middle
    turned = warp(picture, 90.0, (0.0, 0.0), (9, 9))
    assert tuple(np.argwhere(turned[0, ..., 0] == 200)[0]) == (0, 4)
    moved = warp(picture, 0.0, (2.0, -3.0), (9, 9))
    assert tuple(np.argwhere(moved[0, ..., 0] == 200)[0]) == (6, 5)


def test_vader_is_the_lexicon_in_two_classes():
    dataset = opened(dataset="vader")
    meta = dataset.meta
    assert (meta.kind, meta.class_names) == ("tokens", ("negative", "positive"))
    assert len(dataset.splits["train"]) + len(dataset.splits["test"]) == len(vader.entries())
    assert len(vader.entries()) > 7000
    assert max(len(text) for text, _ in vader.entries()) <= vader.LONGEST
    words = dict(vader.entries())
    assert (words["good"], words["awful"]) == (1, 0)
    for split in ("train", "test"):
        x, y = everything(dataset.splits[split])
        decoded = ["".join(meta.vocabulary[k] for k in row) for row in x]
        right = [words.get(word) == label for word, label in zip(decoded, y, strict=True)]
        assert np.mean(right) > 0.99  # a test word may hold a character that training lacks


def test_texts_cannot_be_rotated():
    with pytest.raises(SpecError, match=r"augment: expected 0 or 1 for vader .*, got 5; pass SET"):
        registry.prepare(Spec(dataset="vader", augment=5))


def test_preparing_imports_no_tensorflow_scikit_learn_or_cloud_library():
    code = (
        "import sys; from tally.spec import Spec; from tally.data import registry;"
        "[registry.prepare(Spec(dataset=name, augment=1)) for name in registry.names()];"
        "print([m for m in ('tensorflow', 'keras', 'sklearn', 'scipy', 'google.cloud', 'PIL',"
        " 'vaderSentiment') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "[]\n", done.stderr
