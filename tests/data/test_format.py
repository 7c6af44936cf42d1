import itertools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tally.data import shards
from tally.data.format import Chunk, Content, Meta, open_dataset, write
from tally.errors import DataError, RunError, SchemaError

META = Meta("little", "sequence", (2, 1), "float32", 1.0, ("a", "b"))


def content(train: int = 20, test: int = 6, chunk: int = 7, meta: Meta = META) -> Content:
    """Example k of a split holds k twice and has the label k % 2."""

    def chunks():
        for split, count in (("train", train), ("test", test)):
            for start in range(0, count, chunk):
                k = np.arange(start, min(start + chunk, count))
                x = np.repeat(k, 2).reshape(-1, 2, 1).astype(np.float32)
                yield Chunk(split, x, k % 2)

    return Content(meta, chunks)


@pytest.fixture(scope="module")
def sharded(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("datasets") / "sharded"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "SHARD_BYTES", 5 * 8)  # five examples
        write(folder, content(train=23), {})
    return folder


def test_what_is_written_is_read_back_and_described(tmp_path):
    write(tmp_path / "d", content(), {"kind": "test", "fingerprint": "abc"})
    dataset = open_dataset(tmp_path / "d", verify=("train", "test"))
    assert dataset.meta == META
    assert (dataset.fingerprint, dataset.source["kind"]) == ("abc", "test")
    assert (len(dataset.splits["train"]), len(dataset.splits["test"])) == (20, 6)
    described = json.loads((tmp_path / "d" / "dataset.json").read_text())
    assert described["schema"] == 1
    assert described["splits"]["train"] == {"examples": 20, "by_class": [10, 10]}
    assert all(len(shard["x"]["sha256"]) == 64 for shard in described["shards"])


def test_shards_are_no_larger_than_they_may_be(sharded):
    described = json.loads((sharded / "dataset.json").read_text())
    counts = [s["examples"] for s in described["shards"] if s["split"] == "train"]
    assert counts == [5, 5, 5, 5, 3]


@settings(max_examples=60, deadline=None)
@given(indices=st.lists(st.integers(0, 22), max_size=40))
def test_gather_gives_any_examples_in_any_order_across_shards(sharded, indices):
    train = open_dataset(sharded).splits["train"]
    x, y = train.gather(np.array(indices, int))
    assert x.shape == (len(indices), 2, 1)
    assert x[:, 0, 0].tolist() == indices
    assert y.tolist() == [k % 2 for k in indices]


def test_labels_are_in_order_across_shards(sharded):
    assert open_dataset(sharded).splits["train"].targets().tolist() == [k % 2 for k in range(23)]


@pytest.mark.parametrize("index", [-1, 23])
def test_an_index_beyond_the_split_is_refused(sharded, index):
    with pytest.raises(IndexError):
        open_dataset(sharded).splits["train"].gather(np.array([0, index]))


def test_a_changed_byte_is_found_by_checksum_and_only_in_the_splits_asked_for(tmp_path):
    write(tmp_path / "d", content(), {})
    shard = tmp_path / "d" / "train-00000-x.npy"
    data = bytearray(shard.read_bytes())
    data[-1] ^= 1
    shard.write_bytes(data)
    open_dataset(tmp_path / "d", verify=("test",))
    with pytest.raises(DataError, match=r"train-00000-x.npy: expected SHA-256 .*, got .*; delete"):
        open_dataset(tmp_path / "d", verify=("train",))


@pytest.mark.parametrize("keep", [0, 40, -8], ids=["emptied", "header cut", "end cut"])
def test_a_truncated_shard_is_found_when_opened(tmp_path, keep):
    write(tmp_path / "d", content(), {})
    shard = tmp_path / "d" / "test-00000-y.npy"
    shard.write_bytes(shard.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"test-00000-y.npy: expected .*; delete the folder"):
        open_dataset(tmp_path / "d")


def test_a_missing_shard_is_found_when_opened(tmp_path):
    write(tmp_path / "d", content(), {})
    (tmp_path / "d" / "train-00000-y.npy").unlink()
    with pytest.raises(DataError, match=r"train-00000-y.npy.*delete the folder"):
        open_dataset(tmp_path / "d")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 1}', '{"schema": "x"}'])
def test_a_broken_description_is_one_line(tmp_path, text):
    write(tmp_path / "d", content(), {})
    (tmp_path / "d" / "dataset.json").write_text(text)
    with pytest.raises(DataError, match=r"dataset.json: expected .*; delete the folder") as caught:
        open_dataset(tmp_path / "d")
    assert "\n" not in str(caught.value)


def test_a_newer_schema_is_refused_with_both_versions(tmp_path):
    write(tmp_path / "d", content(), {})
    path = tmp_path / "d" / "dataset.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema": 2}))
    with pytest.raises(SchemaError, match="version 1 or older, got 2"):
        open_dataset(tmp_path / "d")


def test_no_dataset_is_one_line(tmp_path):
    with pytest.raises(DataError, match=r"expected a dataset folder, got no dataset.json"):
        open_dataset(tmp_path / "nothing")


def with_chunk(x, y, meta: Meta = META) -> Content:
    good = content(meta=META)
    return Content(meta, lambda: itertools.chain(good.chunks(), [Chunk("train", x, y)]))


TOKENS = Meta("words", "tokens", (2, 1), "int32", 1.0, ("a", "b"), ("", "\ufffd", "z"))
BAD = {
    "NaN": (with_chunk(np.full((1, 2, 1), np.nan), np.array([1])), "finite numbers, got NaN.* b;"),
    "infinity": (with_chunk(np.full((1, 2, 1), np.inf), np.array([0])), "finite numbers.* a;"),
    "label too high": (with_chunk(np.zeros((1, 2, 1)), np.array([2])), "from 0 to 1, got 2"),
    "label negative": (with_chunk(np.zeros((1, 2, 1)), np.array([-1])), "from 0 to 1, got -1"),
    "label a fraction": (with_chunk(np.zeros((1, 2, 1)), np.array([0.5])), "whole-number label"),
    "too few labels": (with_chunk(np.zeros((2, 2, 1)), np.array([0])), "one whole-number label"),
    "another shape": (with_chunk(np.zeros((1, 3, 1)), np.array([0])), r"\(2, 1\), got \(3, 1\)"),
    "unknown token": (
        with_chunk(np.full((1, 2, 1), 99), np.array([0]), TOKENS), "token ids from 0 to 2, got "
    ),
    "no test examples": (content(test=0), "examples in the test split, got none"),
    "no examples at all": (content(train=0, test=0), "examples in the train split, got none"),
    "class without example": (content(train=1), "training examples of every class, got none of b"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_examples_are_one_line_and_leave_nothing(tmp_path, name):
    bad, message = BAD[name]
    with pytest.raises(DataError, match=message) as caught:
        write(tmp_path / "datasets" / "d", bad, {})
    assert "\n" not in str(caught.value) and ";" in str(caught.value)
    assert list((tmp_path / "datasets").iterdir()) == []


FULL = """
import resource, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_format import content
from tally.data.format import write
from tally.errors import RunError
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    write(Path(sys.argv[1]), content(train=100_000, chunk=5000), {})
except RunError as error:
    print(error)
"""


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path):
    folder = tmp_path / "datasets" / "d"
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(folder), str(Path(__file__).parent)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.count("\n") == 1, done.stderr
    assert "expected room to write, got 'File too large'" in done.stdout
    assert list(folder.parent.iterdir()) == []
    assert RunError.exit_code == 1


WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_format import content, META
from tally.data.format import Content, write
def chunks():
    whole = list(content(train=int(sys.argv[3])).chunks())
    yield whole[0]
    print("writing", flush=True)
    sys.stdin.readline()
    yield from whole[1:]
print("started", flush=True)
write(Path(sys.argv[1]), Content(META, chunks), {})
"""


def writer(folder: Path, train: int) -> subprocess.Popen:
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder), str(Path(__file__).parent), str(train)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "started\n"
    return process


def test_of_two_writers_one_wins_and_the_other_uses_it(tmp_path):
    folder = tmp_path / "datasets" / "d"
    first = writer(folder, 20)
    assert first.stdout.readline() == "writing\n"
    second = writer(folder, 40)
    first.communicate("go\n", timeout=60)
    output, _ = second.communicate("go\n", timeout=60)
    assert (first.returncode, second.returncode, output) == (0, 0, "")
    assert len(open_dataset(folder, verify=("train", "test")).splits["train"]) == 20
    assert list(folder.parent.iterdir()) == [folder]


def test_a_writer_killed_in_the_middle_leaves_no_dataset_and_the_next_one_cleans_up(tmp_path):
    folder = tmp_path / "datasets" / "d"
    first = writer(folder, 20)
    assert first.stdout.readline() == "writing\n"
    first.kill()
    first.communicate(timeout=60)
    assert not folder.exists()
    assert len(list(folder.parent.iterdir())) == 2  # its lock file and its temporary folder
    write(folder, content(), {})
    assert list(folder.parent.iterdir()) == [folder]
