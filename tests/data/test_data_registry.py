import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from helpers import made_sources as made
from tally.data import hashes, registry, shards
from tally.data.format import open_dataset
from tally.errors import DataError, SpecError
from tally.spec import Spec


def prepare(source, **settings):
    return registry.prepare(Spec(dataset=str(source), **settings))


def test_the_same_content_is_made_once_wherever_it_lies(tmp_path):
    made.npz(tmp_path / "x.npz")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "x.npz").write_bytes((tmp_path / "x.npz").read_bytes())
    folder, reused = prepare(tmp_path / "x.npz")
    assert not reused and folder.parent.name == "datasets"
    assert prepare(tmp_path / "x.npz") == (folder, True)
    assert prepare(tmp_path / "other" / "x.npz") == (folder, True)


def test_other_content_of_the_same_size_and_time_at_the_same_path_is_another_dataset(tmp_path):
    path = made.npz(tmp_path / "x.npz")
    before, (folder, _) = path.stat(), prepare(path)
    made.npz(path, y_train=(np.arange(30) + 1) % 3)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    other, reused = prepare(path)
    assert other != folder and not reused
    assert open_dataset(other).fingerprint != open_dataset(folder).fingerprint


def test_options_that_shape_examples_make_another_dataset_and_others_do_not(tmp_path):
    source = made.image_folders(tmp_path / "pets")
    folder, _ = prepare(source)
    assert prepare(source, epochs=9, sequence_length=5) == (folder, True)
    for other in (
        {"image_size_pixels": 9}, {"resize": "crop"}, {"channels": "3"}, {"range": "0..9"},
        {"background": "black"},
    ):  # fmt: skip
        assert prepare(source, **other)[0] != folder
    assert prepare(source, augment=2)[0] != folder


def test_a_file_renamed_in_a_folder_is_another_dataset(tmp_path):
    source = made.image_folders(tmp_path / "pets")
    folder, _ = prepare(source)
    (source / "cat").rename(source / "lynx")
    assert prepare(source)[0] != folder


def test_a_newer_loader_makes_the_dataset_anew(tmp_path, monkeypatch):
    from tally.data.sources import npz

    path = made.npz(tmp_path / "x.npz")
    folder, _ = prepare(path)
    monkeypatch.setattr(npz, "VERSION", npz.VERSION + 1)
    assert prepare(path)[0] != folder


def test_a_settled_file_is_hashed_once(tmp_path, monkeypatch):
    path = tmp_path / "big"
    path.write_bytes(b"data")
    calls = []
    monkeypatch.setattr(hashes, "sha256", lambda file: calls.append(file) or shards.sha256(file))
    first = hashes.hashes([path])  # just written: could change again within its time's resolution
    assert hashes.hashes([path]) == first and len(calls) == 2
    monkeypatch.setattr(hashes, "_SETTLED_NANOSECONDS", -time.time_ns())
    for _ in range(3):
        assert hashes.hashes([path]) == first
    assert len(calls) == 3
    path.write_bytes(b"DATA")
    assert hashes.hashes([path]) != first


def test_a_broken_hash_cache_only_costs_time(tmp_path, tally_home):
    path = made.npz(tmp_path / "x.npz")
    (tally_home / "cache").mkdir(parents=True)
    (tally_home / "cache" / "hashes.db").write_bytes(b"nonsense" * 1000)
    folder, _ = prepare(path)
    assert prepare(path) == (folder, True)


def test_progress_counts_up_to_all_examples(tmp_path):
    told = []
    registry.prepare(
        Spec(dataset=str(made.npz(tmp_path / "x.npz"))), lambda *done: told.append(done)
    )
    assert told == [(30, 39), (39, 39)]
    told.clear()
    registry.prepare(Spec(augment=2), lambda *done: told.append(done))
    assert told[-1] == (1437 * 2 + 360, 1437 * 2 + 360)
    assert [done for done, _ in told] == sorted({done for done, _ in told})


def test_a_corrupt_dataset_is_not_reused_in_silence(tmp_path):
    path = made.npz(tmp_path / "x.npz")
    folder, _ = prepare(path)
    shard = folder / "train-00000-x.npy"
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(DataError, match="delete the folder"):
        prepare(path)


USER = """
import numpy as np
def dataset():
    x = np.arange(40 * 16, dtype=np.uint8).reshape(40, 4, 4)
    return (x[:30], np.arange(30) % 3), (x[30:], np.arange(10) % 3)
"""


def test_a_users_arrays_are_a_dataset_by_content(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(USER)
    registry.check(Spec(dataset=str(path)))
    folder, reused = prepare(path)
    dataset = open_dataset(folder)
    assert (dataset.meta.name, dataset.meta.input_shape, reused) == ("mine", (4, 4), False)
    assert (len(dataset.splits["train"]), len(dataset.splits["test"])) == (30, 10)
    path.write_text(USER + "# another comment\n")
    assert prepare(path) == (folder, True)
    path.write_text(USER.replace("% 3), (x[30:]", "% 2), (x[30:]"))
    with pytest.raises(DataError, match="labels from 0 to 1, got 2"):
        prepare(path)


def test_a_user_may_name_a_source_beside_the_file_or_a_packaged_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "project").mkdir()
    made.npz(tmp_path / "project" / "x.npz")
    mine = tmp_path / "project" / "mine.py"
    mine.write_text("def dataset():\n    return 'x.npz'\n")
    assert open_dataset(prepare(mine)[0]).meta.name == "x"
    mine.write_text("dataset = lambda: 'digits'\n")
    registry.check(Spec(dataset=str(mine)))
    assert open_dataset(prepare(mine, augment=1)[0]).meta.name == "digits"


USER_ERRORS = {
    "raises": ("def dataset():\n    1 / 0\n", SpecError, "got ZeroDivisionError"),
    "a number": ("def dataset():\n    return 3\n", DataError, r"x_train, y_train.* got int"),
    "labels missing": (
        "import numpy as np\ndef dataset():\n    x = np.zeros((4, 3))\n"
        "    return (x, np.zeros(3, int)), (x, np.zeros(4, int))\n",
        DataError,
        r"a label for each example of the train split, got .*\(4, 3\) and \(3,\)",
    ),
    "words": (
        "import numpy as np\ndef dataset():\n    x = np.array([['a']] * 4)\n"
        "    return (x, np.zeros(4, int)), (x, np.zeros(4, int))\n",
        DataError,
        "expected numbers .* got <U1",
    ),
    "names itself": (
        "def dataset():\n    return __file__\n", SpecError, "got the name of a Python file"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", USER_ERRORS)
def test_a_user_file_that_returns_no_dataset_is_one_line(tmp_path, name):
    code, kind, message = USER_ERRORS[name]
    (tmp_path / "mine.py").write_text(code)
    with pytest.raises(kind, match=message) as caught:
        prepare(tmp_path / "mine.py")
    assert "\n" not in str(caught.value)


def user_file(folder: Path, code: str) -> str:
    (folder / "mine.py").write_text(code)
    return str(folder / "mine.py")


def folder_of(folder: Path, *names: str) -> str:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return str(folder)


CHECKED = {
    "nearest name": (lambda f: "digit", "one of digits, vader, .*did you mean digits"),
    "unknown name": (lambda f: "qqqq", "one of digits, vader.* got qqqq, an unknown name"),
    "missing file": (lambda f: f"{f}/no.npz", "no such file or folder; check the path"),
    "missing folder": (lambda f: f"{f}/nowhere/", "no such file or folder"),
    "web address": (lambda f: "https://example.org/x.npz", "another kind of address; download"),
    "ftp": (lambda f: "ftp://bucket/x", "got ftp://bucket/x, another kind of address"),
    "empty folder": (lambda f: str(f), "got an empty folder; bring"),
    "unknown layout": (lambda f: folder_of(f, "a.parquet"), r"IDX .*\.npz .*got something else"),
    "bucket only": (lambda f: "gs://bucket", "expected gs://bucket/object"),
    "no bucket": (lambda f: "gs:///x", "expected gs://bucket/object"),
    "leaves the bucket": (lambda f: "gs://b/../../etc", "expected gs://bucket/object"),
    "user file missing": (lambda f: f"{f}/mine.py", "a Python file with dataset"),
    "user file broken": (
        lambda f: user_file(f, "def ("),
        "expected Python, got SyntaxError in line 1: .*syntax",
    ),
    "no dataset()": (
        lambda f: user_file(f, "def model(): pass"),
        r"a function dataset\(\), got none",
    ),
}


@pytest.mark.parametrize("name", CHECKED)
def test_check_refuses_in_one_line_what_can_be_seen_early(tmp_path, tally_home, name):
    make, message = CHECKED[name]
    with pytest.raises(SpecError, match=message) as caught:
        registry.check(Spec(dataset=make(tmp_path)))
    assert "\n" not in str(caught.value)
    assert not (tally_home / "datasets").exists()


def test_check_accepts_good_sources_and_runs_no_user_code(tmp_path):
    made.npz(tmp_path / "x.npz")
    made.idx(tmp_path / "idx")
    made.image_folders(tmp_path / "pets")
    made.texts(tmp_path / "mail")
    made.table(tmp_path / "t.csv")
    user_file(tmp_path, "raise SystemExit('ran')\nfrom elsewhere import dataset\n")
    for name in ("x.npz", "idx", "pets", "mail", "t.csv", "mine.py"):
        registry.check(Spec(dataset=str(tmp_path / name)))
    for name in ("digits", "vader", "gs://bucket/some/object.npz"):
        registry.check(Spec(dataset=name))


def test_a_source_that_cannot_be_read_is_one_line(tmp_path):
    path = tmp_path / "x.npz"
    if os.geteuid():
        made.npz(path).chmod(0)
    else:  # root may read everything but this
        path.symlink_to("/proc/self/mem")
    with pytest.raises(DataError, match=r"expected a file that this user can read.*permissions"):
        prepare(path)


BIG = """
import resource, sys, zipfile
from pathlib import Path
import numpy as np
from tally.data import registry
from tally.data.format import open_dataset
from tally.spec import Spec
allowed = int(sys.argv[2]) + sum(
    int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line[:7] == "VmData:")
resource.setrlimit(resource.RLIMIT_DATA, (allowed, allowed))
folder, _ = registry.prepare(Spec(dataset=sys.argv[1]))
train = open_dataset(folder, verify=("train",)).splits["train"]
random = np.random.default_rng(0)
for _ in range(50):
    k = random.integers(0, len(train), 32)
    x, y = train.gather(k)
    assert (x[:, 0, 0, 0] == k % 251).all() and (y == k % 2).all()
print(len(train), sum(f.stat().st_size for f in folder.glob("train-*-x.npy")))
"""


def big_npz(path: Path, examples: int) -> None:
    """x_train of 100 kB an example, written without holding it."""
    import zipfile

    small = {"y_train": np.arange(examples) % 2, "y_test": np.arange(4) % 2}
    small["x_test"] = np.arange(400_000).astype(np.uint8).reshape(4, 200, 500)
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in small.items():
            with archive.open(f"{name}.npy", "w") as file:
                np.lib.format.write_array(file, array)
        header = {"descr": "|u1", "fortran_order": False, "shape": (examples, 200, 500)}
        with archive.open("x_train.npy", "w") as file:
            np.lib.format.write_array_header_1_0(file, header)
            for k in range(examples):
                file.write(bytes([k % 251]) * 100_000)


def test_a_dataset_bigger_than_the_memory_allowed_is_made_and_read(tmp_path, tally_home):
    allowed, examples = 190_000_000, 3000  # two shards of 64 MiB, a chunk, and what Python needs
    path = tmp_path / "big.npz"
    try:
        big_npz(path, examples)
        assert path.stat().st_size > 300_000_000 > allowed
        done = subprocess.run(
            [sys.executable, "-c", BIG, str(path), str(allowed)],
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        count, size = map(int, done.stdout.split())
        assert count == examples and size > 300_000_000
    finally:  # pytest keeps the folders of its last runs
        for file in (path, *tally_home.glob("datasets/*/*.npy")):
            file.unlink(missing_ok=True)
