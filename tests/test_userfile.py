"""A user's own file travels: packed, unpacked where its path says, refused where it cannot."""

import random
from pathlib import Path, PurePosixPath

import pytest

from tally import userfile
from tally.errors import SpecError
from tally.userfile import UserFile

MINE = '"""Ünïcode."""\ndef model():\n    return 1\n\ndef dataset():\n    return "digits"\n'


def written(folder: Path, text: str | bytes, name: str = "mine.py") -> str:
    data = text.encode() if isinstance(text, str) else text
    (folder / name).write_bytes(data)
    return str(folder / name)


def test_what_is_unpacked_is_what_was_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(userfile, "POD_FOLDER", PurePosixPath(tmp_path / "pod"))
    file = userfile.read(written(tmp_path, MINE), ["model", "dataset"])
    for _ in range(2):  # a step that is begun anew finds it there
        userfile.unpack({userfile.VARIABLE: userfile.pack([file])})
    assert Path(file.pod_path).read_text(encoding="utf-8") == MINE
    assert userfile.function(file.pod_path, "model")() == 1
    assert [path.name for path in Path(file.pod_path).parent.iterdir()] == ["mine.py"]


def test_a_file_that_changes_within_a_second_is_read_anew(tmp_path: Path) -> None:
    for number in range(1, 4):  # texts of one length: bytecode would be taken for each of them
        path = written(tmp_path, f"def model():\n    return {number}\n")
        assert userfile.function(path, "model")() == number
    assert [path.name for path in tmp_path.iterdir()] == ["mine.py"]


def test_another_source_has_another_path_and_the_same_the_same() -> None:
    assert UserFile("mine.py", "1").pod_path == UserFile("mine.py", "1").pod_path
    assert UserFile("mine.py", "1").pod_path != UserFile("mine.py", "2").pod_path
    two = [UserFile("a.py", "1"), UserFile("b.py", "2")]
    assert userfile.pack(two) == userfile.pack(reversed(two))


def test_nothing_travelled_where_nothing_says_so(tmp_path: Path) -> None:
    userfile.unpack({})
    with pytest.raises(SpecError, match="TALLY_USER_FILES: expected what compiling puts there"):
        userfile.unpack({userfile.VARIABLE: "bm90IHh6"})


def test_the_largest_python_file_fits(tmp_path: Path) -> None:
    line = "    x = keras.layers.Dense({}, activation='relu')(x)\n"
    random.seed(0)
    lines = "".join(line.format(random.randint(1, 10**6)) for _ in range(4_500))
    source = f"def model():\n{lines}"
    assert 0.9 * userfile.LARGEST_BYTES < len(source) <= userfile.LARGEST_BYTES
    file = userfile.read(written(tmp_path, source), ["model"])
    assert len(userfile.pack([file])) <= userfile.LARGEST_PACKED_BYTES


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("#" * (256 * 1024 + 1), "at most 256 KiB.*got 256 KiB", id="too big"),
        pytest.param("def model(:\n", "got SyntaxError in line 1: invalid", id="no Python"),
        pytest.param("x = '\0'\ndef model(): ...\n", "expected Python", id="a null byte"),
        pytest.param("# ü\n".encode("latin-1"), "UTF-8", id="another encoding"),
        pytest.param("def dataset(): ...\n", r"a function model\(\), got none", id="no model"),
        pytest.param("def f():\n    model = 1\n", r"a function model\(\), got none", id="inside"),
    ],
)
def test_a_file_that_cannot_travel_is_refused_in_a_line(
    text: str | bytes, message: str, tmp_path: Path
) -> None:
    with pytest.raises(SpecError, match=message) as caught:
        userfile.read(written(tmp_path, text), ["model"])
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_refused_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="No such file"):
        userfile.read(str(tmp_path / "none.py"), ["model"])


def test_text_that_does_not_compress_is_refused(tmp_path: Path) -> None:
    random.seed(1)
    letters = "".join(random.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=200_000))
    file = userfile.read(written(tmp_path, f"def model(): return '{letters}'\n"), ["model"])
    with pytest.raises(SpecError, match=r"mine\.py: expected source text that compresses to 80"):
        userfile.pack([file])


@pytest.mark.parametrize(
    "source",
    ["def model(): ...", "model = lambda: 1", "from keras.applications import VGG16 as model",
     "if True:\n    def model(): ...", "from other import *", "model: object = print"],
)  # fmt: skip
def test_whatever_is_called_model_is_taken(source: str, tmp_path: Path) -> None:
    userfile.read(written(tmp_path, source), ["model"])
