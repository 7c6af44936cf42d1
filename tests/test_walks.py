"""ARCHITECTURE.md's two walks through the modules, held against the imports."""

import importlib.util
import re
from itertools import pairwise
from pathlib import Path

import grimp
import pytest

PROJECT = Path(__file__).parents[1]
WALKS = dict(
    re.findall(
        r"^\*\*(A run's id|A batch size)\*\*.*?\n```\n(.*?)\n```$",
        (PROJECT / "ARCHITECTURE.md").read_text(),
        re.DOTALL | re.MULTILINE,
    )
)


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("tally", "components", "pipelines", cache_dir=None)


def source(module: str) -> str:
    found = importlib.util.find_spec(module)
    assert found is not None and found.origin is not None
    return Path(found.origin).read_text()


@pytest.mark.parametrize("walk", ["A run's id", "A batch size"])
def test_each_step_of_a_walk_imports_the_next_or_starts_it(
    walk: str, graph: grimp.ImportGraph
) -> None:
    words = re.findall(r"[\w.]+|→|⇒", WALKS[walk])
    modules, arrows = words[::2], words[1::2]
    assert len(modules) == len(set(modules)) > 5
    for (first, second), arrow in zip(pairwise(modules), arrows, strict=True):
        if arrow == "→":
            assert graph.direct_import_exists(importer=first, imported=second), (first, second)
        else:  # by its name: a process, or a file that is found in a folder
            assert re.search(
                rf"{re.escape(second)}\b|{second.partition('.')[0]}\.\{{", source(first)
            )
