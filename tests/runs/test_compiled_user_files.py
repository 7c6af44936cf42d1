"""A user's own file inside a compiled pipeline, and what the image must have for it."""

from pathlib import Path, PurePosixPath

import pytest
from test_compiled import STEPS, environment_of, executors

from tally import userfile
from tally.errors import SpecError
from tally.runs.compiled import compile_for_cluster
from tally.runs.userimports import imported, in_image

PROJECT = Path(__file__).parents[2]
EXAMPLE = PROJECT / "examples" / "mine.py"
BOTH = "def model(): ...\ndef dataset(): ...\n"


def written(folder: Path, text: str, name: str = "mine.py") -> str:
    (folder / name).write_text(text)
    return str(folder / name)


def test_its_source_is_in_every_step_and_its_path_that_of_the_pod(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(userfile, "POD_FOLDER", PurePosixPath(tmp_path / "pod"))
    made = compile_for_cluster(str(EXAMPLE), {}, {})
    path = made.arguments["model"]
    assert made.name == "mine" and made.arguments["dataset"] == path
    assert str(EXAMPLE.parent).encode() not in made.ir  # nothing of this machine
    for container in executors(made)[0].values():
        userfile.unpack(environment_of(container))
        assert Path(path).read_text() == EXAMPLE.read_text()
        Path(path).unlink()


def test_another_source_is_another_content_and_the_same_is_the_same(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    here, there = written(tmp_path, BOTH), written(tmp_path / "elsewhere", BOTH)
    first = compile_for_cluster(here, {}, {})
    assert compile_for_cluster(there, {}, {}).content == first.content
    written(tmp_path, BOTH + "# changed\n")
    second = compile_for_cluster(here, {}, {})
    assert second.content != first.content
    assert second.arguments["model"] != first.arguments["model"]


def test_a_model_of_ones_own_travels_with_a_packaged_pipeline(tmp_path: Path) -> None:
    mine = written(tmp_path, "def model(): ...\n")
    made = compile_for_cluster("cnn", {"model": mine}, {})
    assert made.arguments["model"].endswith("/mine.py") and made.arguments["dataset"] == "digits"
    assert all(userfile.VARIABLE in environment_of(c) for c in executors(made)[0].values())
    plain = compile_for_cluster("cnn", {}, {})
    assert not any(userfile.VARIABLE in environment_of(c) for c in executors(plain)[0].values())


def test_what_a_setting_replaces_need_not_be_in_the_file(tmp_path: Path) -> None:
    mine = written(tmp_path, "def model(): ...\n")
    with pytest.raises(SpecError, match=r"a function dataset\(\), got none"):
        compile_for_cluster(mine, {}, {})
    made = compile_for_cluster(mine, {"dataset": "digits"}, {})
    assert str(tmp_path).encode() not in made.ir


def test_the_containers_of_the_largest_file_fit_into_one_argument_of_kfps_driver(
    tmp_path: Path,
) -> None:
    line = "    x = keras.layers.Dense({0}, activation='relu', name='layer_{0}')(x)\n"
    body = "".join(line.format(7919 * number % 1_000_003) for number in range(3_300))
    source = f"def model():\n{body}    return x\ndef dataset(): ...\n"
    assert 0.9 * userfile.LARGEST_BYTES < len(source) <= userfile.LARGEST_BYTES
    made = compile_for_cluster(written(tmp_path, source), {}, {})
    containers, _, _ = executors(made)
    assert all(len(repr(containers[step])) < 128 * 1024 for step in STEPS)


@pytest.mark.parametrize(
    ("source", "names"),
    [
        pytest.param("import torch\n", "torch", id="at the top"),
        pytest.param("def model():\n    from torch import nn\n", "torch", id="in a function"),
        pytest.param("import torch.nn as nn, jax\n", "jax, torch", id="two"),
        pytest.param("try:\n    import numpy\nexcept ImportError:\n    import torch\n", "torch",
                     id="the other way"),
    ],
)  # fmt: skip
def test_an_import_that_the_image_lacks_is_refused_by_name(
    source: str, names: str, tmp_path: Path
) -> None:
    with pytest.raises(SpecError, match=rf"expected imports that the image has, got {names};"):
        compile_for_cluster(written(tmp_path, source + BOTH), {}, {})


@pytest.mark.parametrize("source", ["import beside\n", "from . import beside\n", "import folder.x"])
def test_an_import_of_what_does_not_travel_is_refused_by_name(source: str, tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("")
    (tmp_path / "folder").mkdir()
    with pytest.raises(SpecError, match="got an import of what lies beside it") as caught:
        compile_for_cluster(written(tmp_path, f"{source}\n{BOTH}"), {}, {})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "source",
    [
        pytest.param("import os.path, tomllib, __future__\n", id="standard library"),
        pytest.param("import keras, tensorflow as tf, numpy as np, sklearn\n", id="locked"),
        pytest.param("from PIL import Image\nimport yaml, google.cloud\n", id="other names"),
        pytest.param("from tally.errors import SpecError\n", id="tally"),
        pytest.param("try:\n    import torch\nexcept ImportError:\n    pass\n", id="optional"),
        pytest.param("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch\n",
                     id="types"),
        pytest.param("def dataset():\n    import mine\n", id="itself"),
    ],
)  # fmt: skip
def test_an_import_that_works_in_a_pod_is_taken(source: str, tmp_path: Path) -> None:
    compile_for_cluster(written(tmp_path, source + BOTH), {}, {})


def test_the_image_has_what_is_locked_and_nothing_that_is_only_installed_here() -> None:
    lock = "numpy==2.4.0 \\\n    --hash=sha256:0\npillow==12.0 ; python_version >= '3'\n"
    owners = {"numpy": ["numpy"], "PIL": ["Pillow"], "pytest": ["pytest"]}
    there = in_image(lock, owners)
    assert {"numpy", "PIL", "json", "tally"} <= there and "pytest" not in there
    assert imported("import a.b\nfrom c.d import e\nfrom .f import g\n") == {"a", "c", "."}
