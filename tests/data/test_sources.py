import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import made_sources as made
from tally.data import registry
from tally.data.format import open_dataset
from tally.data.split import held_out
from tally.data.text import encode, vocabulary
from tally.errors import DataError
from tally.spec import Spec

FASHION = "/usr/share/datasets/fashion-mnist"


def prepared(source: Path | str, **settings):
    return open_dataset(registry.prepare(Spec(dataset=str(source), **settings))[0])


def everything(dataset, split):
    part = dataset.splits[split]
    return part.gather(np.arange(len(part)))


def same(dataset, split, x, y):
    found_x, found_y = everything(dataset, split)
    assert (found_x == x.reshape(len(x), *dataset.meta.input_shape)).all()
    assert (found_y == y).all()


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_pictures_come_out_as_they_went_in(tmp_path, save):
    x_train, y_train = made.pictures(30)
    x_test, y_test = made.pictures(9, seed=1)
    path = tmp_path / "p.npz"
    save(path, x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
    dataset = prepared(path)
    assert dataset.meta.name == "p"
    assert dataset.meta.class_names == ("0", "1", "2")
    assert (dataset.meta.kind, dataset.meta.input_scale) == ("image", 1 / 255)
    same(dataset, "train", x_train, y_train)
    same(dataset, "test", x_test, y_test)


@pytest.mark.parametrize(
    ("shape", "dtype", "kind", "stored", "input_shape"),
    [
        ((4, 5), "uint8", "image", "uint8", (4, 5, 1)),
        ((4, 5, 3), "uint8", "image", "uint8", (4, 5, 3)),
        ((4, 5, 3), "float64", "image", "float32", (4, 5, 3)),
        ((7,), "float32", "sequence", "float32", (7, 1)),
        ((7,), "int64", "tokens", "int32", (7,)),
    ],
    ids=["grey", "colour", "floats", "series", "tokens"],
)
def test_npz_shape_and_type_say_what_the_examples_are(
    tmp_path, shape, dtype, kind, stored, input_shape
):
    random = np.random.default_rng(0)
    x = [random.integers(0, 9, (count, *shape)).astype(dtype) for count in (30, 9)]
    dataset = prepared(made.npz(tmp_path / "x.npz", x_train=x[0], x_test=x[1]))
    meta = dataset.meta
    assert (meta.kind, meta.input_dtype, meta.input_shape) == (kind, stored, input_shape)
    assert len(meta.vocabulary) == (9 if kind == "tokens" else 0)
    same(dataset, "train", x[0], np.arange(30) % 3)


def test_16_bit_pictures_of_an_archive_are_those_of_8(tmp_path):
    scaled = []
    for times, dtype in ((1, "uint8"), (257, "uint16"), (257, ">u2")):
        x = [made.pictures(n, seed=n)[0].astype(dtype) * np.array(times, dtype) for n in (30, 9)]
        dataset = prepared(made.npz(tmp_path / f"{dtype[1:]}.npz", x_train=x[0], x_test=x[1]))
        scaled.append(everything(dataset, "train")[0] * np.float32(dataset.meta.input_scale))
    assert np.abs(scaled[0] - scaled[1]).max() < 1e-6 and (scaled[1] == scaled[2]).all()


def test_labels_in_a_column_are_labels(tmp_path):
    dataset = prepared(made.npz(tmp_path / "x.npz", y_train=(np.arange(30) % 3)[:, None]))
    assert dataset.splits["train"].targets().tolist() == (np.arange(30) % 3).tolist()


@pytest.mark.parametrize("compressed", [True, False], ids=["gz", "plain"])
def test_idx_pictures_come_out_as_they_went_in(tmp_path, compressed):
    dataset = prepared(made.idx(tmp_path / "fashion", compressed))
    assert (dataset.meta.name, dataset.meta.input_shape) == ("fashion", (6, 6, 1))
    same(dataset, "train", *made.pictures(30, seed=30))
    same(dataset, "test", *made.pictures(9, seed=9))


@pytest.mark.program(FASHION)
def test_debians_fashion_mnist_is_read_whole():
    dataset = prepared(FASHION)
    assert (len(dataset.splits["train"]), len(dataset.splits["test"])) == (60_000, 10_000)
    assert dataset.meta.input_shape == (28, 28, 1)
    assert np.bincount(dataset.splits["train"].targets()).tolist() == [6000] * 10
    with gzip.open(f"{FASHION}/t10k-images-idx3-ubyte.gz") as file:
        file.seek(16 + 9999 * 784)
        last = np.frombuffer(file.read(), np.uint8)
    assert (dataset.splits["test"].gather(np.array([9999]))[0].ravel() == last).all()


def test_augment_enlarges_pictures_of_a_source_too(tmp_path):
    dataset = prepared(made.npz(tmp_path / "x.npz"), augment=4)
    assert (len(dataset.splits["train"]), len(dataset.splits["test"])) == (120, 9)
    x, _ = made.pictures(30)
    assert (dataset.splits["train"].gather(np.arange(30))[0][..., 0] == x).all()


def test_image_folders_are_split_by_class_and_brought_to_size_and_grey(tmp_path):
    dataset = prepared(made.image_folders(tmp_path / "pets"), image_size_pixels=8)
    assert dataset.meta.class_names == ("cat", "dog", "owl")
    assert dataset.meta.input_shape == (8, 8, 1)
    assert np.bincount(dataset.splits["train"].targets()).tolist() == [8, 8, 8]
    assert np.bincount(dataset.splits["test"].targets()).tolist() == [2, 2, 2]
    for split in ("train", "test"):
        x, y = everything(dataset, split)
        assert np.abs(x.mean(axis=(1, 2, 3)) - 40.0 * y).max() < 15


def test_image_folders_below_train_and_test_keep_that_split(tmp_path):
    made.image_folders(tmp_path / "pets" / "train", 6)
    made.image_folders(tmp_path / "pets" / "test", 2)
    (tmp_path / "pets" / "train" / "cat" / "notes.md").write_text("no picture, not looked at")
    (tmp_path / "pets" / "train" / ".hidden").mkdir()
    dataset = prepared(tmp_path / "pets")
    assert (len(dataset.splits["train"]), len(dataset.splits["test"])) == (18, 6)
    assert dataset.left_out == {".md files, which are read as no pictures": 1}


def decoded(dataset, split):
    x, y = everything(dataset, split)
    lines = ["".join(dataset.meta.vocabulary[k] for k in row) for row in x]
    return list(zip(lines, y.tolist(), strict=True))


def test_text_folder_gives_a_line_an_example_and_the_vocabulary_of_training_only(tmp_path):
    made.texts(tmp_path / "mail" / "train")
    made.texts(tmp_path / "mail" / "test", 2)
    (tmp_path / "mail" / "test" / "ham.txt").write_text("ham §\n", encoding="utf-8")
    dataset = prepared(tmp_path / "mail", sequence_length=12)
    assert dataset.meta.class_names == ("ham", "spam")
    assert dataset.meta.input_shape == (12,)
    assert ("ham line 3 x", 0) in decoded(dataset, "train")
    assert len(decoded(dataset, "train")) == 20
    assert ("ham \ufffd", 0) in decoded(dataset, "test")
    assert "§" not in dataset.meta.vocabulary


def test_text_folder_without_a_split_is_split_by_class(tmp_path):
    dataset = prepared(made.texts(tmp_path / "mail"))
    assert np.bincount(dataset.splits["test"].targets()).tolist() == [2, 2]
    assert len({*decoded(dataset, "train"), *decoded(dataset, "test")}) == 20


def test_documents_are_read_as_imdbs_reviews_come(tmp_path, tally_home):
    folder = made.documents(tmp_path / "imdb")
    with_file(folder, "train/unsup/1.txt", b"who knows")
    with_file(folder, "test/pos/99.txt", b" \n")
    dataset = prepared(folder, sequence_length=14)
    assert dataset.meta.class_names == ("neg", "pos")
    assert [len(dataset.splits[split]) for split in ("train", "test")] == [20, 20]
    x, y = everything(dataset, "train")
    assert "".join(dataset.meta.vocabulary[token] for token in x[0]) == "neg train revi"
    assert y.tolist() == [0] * 10 + [1] * 10
    assert dataset.left_out == {
        "texts of train/unsup, which have no label": 1, "empty files": 1,
    }  # fmt: skip


def test_documents_without_a_split_are_split_by_class(tmp_path, tally_home):
    folder = made.documents(tmp_path / "imdb") / "train"
    for listed in folder.glob("urls_*.txt"):
        listed.unlink()
    dataset = prepared(folder)
    assert np.bincount(dataset.splits["test"].targets()).tolist() == [2, 2]
    assert len(dataset.splits["train"]) == 16 and not dataset.left_out


def test_csv_with_text_becomes_tokens(tmp_path):
    path = tmp_path / "mail.csv"
    path.write_text("label,text\n" + 'good,"hello, you"\nbad,go\n' * 10)
    dataset = prepared(path, sequence_length=16)
    assert (dataset.meta.kind, dataset.meta.class_names) == ("tokens", ("bad", "good"))
    assert set(decoded(dataset, "train")) == {("hello, you", 1), ("go", 0)}


def test_csv_with_numbers_becomes_a_series(tmp_path):
    dataset = prepared(made.table(tmp_path / "t.csv"))
    assert (dataset.meta.kind, dataset.meta.input_shape) == ("sequence", (2, 1))
    assert (len(dataset.splits["train"]), len(dataset.splits["test"])) == (16, 4)
    x, y = everything(dataset, "train")
    assert (x[:, 1, 0] == x[:, 0, 0] / 4).all()
    assert (y == x[:, 0, 0] % 2).all()


def test_csv_numeric_classes_are_in_numeric_order_and_split_is_obeyed(tmp_path):
    rows = [f"{k % 12},{k},{'test' if k >= 24 else 'train'}" for k in range(36)]
    (tmp_path / "t.csv").write_text("\n".join(["label,value,split", *rows]))
    dataset = prepared(tmp_path / "t.csv")
    assert dataset.meta.class_names == tuple(str(k) for k in range(12))
    assert everything(dataset, "test")[0].ravel().tolist() == list(range(24, 36))


@given(st.lists(st.text(max_size=20), min_size=1, max_size=20), st.integers(1, 25))
def test_encoding_can_be_undone_but_for_padding_and_what_is_cut(texts, length):
    texts = [text.replace("\0", "").replace("\ufffd", "") for text in texts]
    known = vocabulary(texts)
    ids = encode(texts, known, length)
    assert ids.shape == (len(texts), length)
    assert ["".join(known[k] for k in row) for row in ids] == [text[:length] for text in texts]
    stranger = encode(["\U0010fffd"], tuple(c for c in known if c != "\U0010fffd"), 1)
    assert stranger.tolist() == [[1]]


@given(st.lists(st.integers(0, 4), min_size=1, max_size=200))
def test_held_out_takes_a_fifth_of_every_class_and_never_the_last_of_one(labels):
    labels = np.array(labels)
    chosen = held_out(labels)
    for label in np.unique(labels):
        of_class = int((labels == label).sum())
        taken = int(chosen[labels == label].sum())
        assert abs(taken - of_class / 5) <= 1 and taken < of_class
    assert (held_out(labels) == chosen).all()


def cut(path: Path, keep: float) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    return path


def truncated_array(folder: Path) -> Path:
    """A whole archive whose x_train says it holds more rows than it does."""
    import io
    import zipfile

    buffer = io.BytesIO()
    np.save(buffer, made.pictures(30)[0])
    path = made.npz(folder / "short.npz", x_train=None)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("x_train.npy", buffer.getvalue()[:-100])
    return path


def with_file(folder: Path, name: str, data: bytes) -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    return folder


def unpicture(folder: Path) -> Path:
    return with_file(made.image_folders(folder / "pets"), "cat/3.jpg", b"not a picture")


def half_picture(folder: Path) -> Path:
    made.image_folders(folder / "pets", size=300)
    cut(folder / "pets" / "cat" / "2.png", 0.6)
    return folder / "pets"


def images_header(count: int) -> bytes:
    return struct.pack(">4B3I", 0, 0, 8, 3, count, 6, 6)


BAD = {
    "npz truncated": (lambda f: cut(made.npz(f / "x.npz"), 0.5), r"x.npz: expected .*\.npz"),
    "npz empty": (lambda f: cut(made.npz(f / "x.npz"), 0), r"x.npz: expected"),
    "npz member short": (truncated_array, "expected a whole array x_train"),
    "npz without y_test": (lambda f: made.npz(f / "x.npz", y_test=None), "none named y_test"),
    "npz labels ≠ examples": (
        lambda f: made.npz(f / "x.npz", y_train=np.zeros(7, int)),
        "30 examples and 7 labels",
    ),
    "npz all examples of a split equal": (
        lambda f: made.npz(f / "x.npz", x_test=np.full((9, 6, 6), 7, np.uint8)),
        "expected examples that differ in the test split, got 9 equal ones",
    ),
    "npz label beyond the classes": (
        lambda f: made.npz(f / "x.npz", y_test=np.full(9, 8)),
        "labels from 0 to 2, got 8",
    ),
    "npz label negative": (lambda f: made.npz(f / "x.npz", y_train=np.full(30, -1)), "got -1"),
    "npz labels one-hot": (
        lambda f: made.npz(f / "x.npz", y_train=np.eye(30, 3)),
        "whole-number labels of shape .*argmax",
    ),
    "npz NaN": (
        lambda f: made.npz(f / "x.npz", x_train=np.full((30, 4), np.nan), x_test=np.zeros((9, 4))),
        "finite numbers, got NaN",
    ),
    "npz pickled": (
        lambda f: made.npz(f / "x.npz", x_train=np.array([{}] * 30, object)),
        "x_train as a plain array",
    ),
    "npz int64 pictures": (
        lambda f: made.npz(
            f / "x.npz", x_train=np.zeros((30, 4, 4), int), x_test=np.zeros((9, 4, 4), int)
        ),
        "uint8, uint16 or floats.*got int64 of shape",
    ),
    "npz train and test differ": (
        lambda f: made.npz(f / "x.npz", x_test=np.zeros((9, 4, 4), np.uint8)),
        "x_train and x_test alike",
    ),
    "npz no examples": (
        lambda f: made.npz(
            f / "x.npz", x_train=np.zeros((0, 6, 6), np.uint8), y_train=np.zeros(0, int)
        ),
        "expected training examples, got none",
    ),
    "npz class without example": (
        lambda f: made.npz(f / "x.npz", y_train=np.full(30, 2)),
        "training examples of every class, got none of 0",
    ),
    "idx truncated": (
        lambda f: made.idx(f / "i", train_images=images_header(30) + bytes(100)),
        "train-images-idx3-ubyte.gz: expected a whole IDX file",
    ),
    "idx too long": (
        lambda f: made.idx(f / "i", t10k_images=images_header(9) + bytes(9 * 36 + 1)),
        "t10k-images-idx3-ubyte.gz: expected a whole IDX file.*more data",
    ),
    "idx gz cut": (
        lambda f: cut(made.idx(f / "i") / "train-images-idx3-ubyte.gz", 0.5).parent,
        "train-images-idx3-ubyte.gz: expected a whole IDX file",
    ),
    "idx empty file": (
        lambda f: with_file(made.idx(f / "i"), "t10k-labels-idx1-ubyte.gz", b""),
        "t10k-labels-idx1-ubyte.gz: expected a whole IDX file.*first bytes none",
    ),
    "idx labels missing": (
        lambda f: made.idx(f / "i", t10k_labels=None),
        "got no t10k-labels-idx1-ubyte",
    ),
    "idx labels ≠ images": (
        lambda f: made.idx(f / "i", train_labels=struct.pack(">4BI", 0, 0, 8, 1, 2) + b"\0\1"),
        r"as many labels as pictures \(30\), got 2",
    ),
    "idx huge count": (
        lambda f: made.idx(f / "i", train_images=images_header(2**32 - 1)),
        "as many labels as pictures",
    ),
    "image that is none": (unpicture, "cat/3.jpg: expected a picture, got"),
    "image cut in the middle": (half_picture, "cat/2.png: expected a picture, got"),
    "image class empty": (
        lambda f: (made.image_folders(f / "pets") / "zebra").mkdir() or f / "pets",
        "zebra: expected pictures .*, got none",
    ),
    "image class in test only": (
        lambda f: (
            made.image_folders(f / "p" / "train")
            and made.image_folders(f / "p" / "test").rename(f / "p" / "old")
            and (made.image_folders(f / "p" / "test" / "x") and f / "p")
        ),
        "expected the classes of .*, got x too",
    ),
    "text class empty": (
        lambda f: with_file(made.texts(f / "mail"), "eggs.txt", b"\n \n"),
        "eggs.txt: expected an example a line, got none",
    ),
    "text not UTF-8": (
        lambda f: with_file(made.texts(f / "mail"), "ham.txt", b"\xff\xfe\x00"),
        "ham.txt: expected text in UTF-8 in line 1, got byte 0xff",
    ),
    "document not UTF-8": (
        lambda f: with_file(made.documents(f / "imdb"), "train/pos/03.txt", b"caf\xe9"),
        "pos/03.txt: expected text in UTF-8",
    ),
    "document class in test only": (
        lambda f: with_file(made.documents(f / "imdb"), "test/so-so/1.txt", b"hm"),
        "the same classes in train/ and test/, got so-so in only one",
    ),
    "csv in another encoding": (
        lambda f: with_file(f, "t.csv", b"label,text\nx,caf\xe9\ny,tea\n") / "t.csv",
        "t.csv: expected text in UTF-8 in line 2, got byte 0xe9; convert the file",
    ),
    "csv without label": (lambda f: made.table(f / "t.csv", "a,b,c"), "got 'a,b,c'.* label"),
    "csv empty": (lambda f: with_file(f, "t.csv", b"") / "t.csv", "one of them label, got ''"),
    "csv no rows": (lambda f: made.table(f / "t.csv", rows=0), "expected rows below"),
    "csv short row": (
        lambda f: with_file(f, "t.csv", b"label,a\nx,1\ny\n") / "t.csv",
        "expected 2 columns in line 3, got 1",
    ),
    "csv not a number": (
        lambda f: with_file(f, "t.csv", b"label,a\nx,1\ny,one\n") / "t.csv",
        "expected numbers in line 3, got .*'one'",
    ),
    "csv NaN": (
        lambda f: with_file(f, "t.csv", b"label,a\n" + b"x,1\ny,nan\n" * 5) / "t.csv",
        "finite numbers, got NaN",
    ),
    "csv no columns": (
        lambda f: with_file(f, "t.csv", b"label\nx\ny\n") / "t.csv",
        "a column text or columns of numbers",
    ),
    "csv empty label": (
        lambda f: with_file(f, "t.csv", b"label,a\n,1\n") / "t.csv",
        "a label in every row",
    ),
    "csv odd split": (
        lambda f: with_file(f, "t.csv", b"label,a,split\nx,1,later\n") / "t.csv",
        "train, test or val in the column split, got 'later' in line 2",
    ),
    "empty folder": (lambda f: (f / "e").mkdir() or f / "e", "got an empty folder"),
    "missing file": (lambda f: f / "none.npz", "got .*none.npz, no such file or folder"),
    "unknown layout": (lambda f: with_file(f, "x.bin", b"1") / "x.bin", "got something else"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_source_is_one_line_and_leaves_nothing(tmp_path, tally_home, name):
    make, message = BAD[name]
    source = tmp_path / "source"
    source.mkdir()
    with pytest.raises(DataError, match=message) as caught:
        registry.prepare(Spec(dataset=str(make(source))))
    assert "\n" not in str(caught.value)
    assert "expected" in str(caught.value) and ";" in str(caught.value)
    assert list(tally_home.glob("datasets/*")) == list(tally_home.glob("datasets/.*")) == []
