"""The notebook for Colab, run from top to bottom by a kernel of this machine."""

import json
import re
from pathlib import Path

import nbformat
import pytest
from jupyter_client import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

PROJECT = Path(__file__).parents[2]
NOTEBOOK = PROJECT / "notebooks" / "colab.ipynb"


def executed(folder: Path, **changes: str) -> nbformat.NotebookNode:
    """All cells, in a folder of their own; names of the first cell may be set otherwise."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    parameters = next(cell for cell in notebook.cells if cell.cell_type == "code")
    parameters.source += "".join(f"\n{name} = {value}" for name, value in changes.items())
    kernel = AsyncKernelManager(  # over sockets in a folder: nothing listens on a port
        kernel_name="python3", transport="ipc", ip=str(folder.parent / "kernel")
    )
    client = NotebookClient(
        notebook, km=kernel, timeout=240, resources={"metadata": {"path": str(folder)}}
    )
    return client.execute()


def printed(notebook: nbformat.NotebookNode) -> str:
    return "".join(
        output.text
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if output.output_type == "stream"
    )


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's home and a temporary folder with nothing in them."""
    for name in ("home", "tmp", "work"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.setenv("TALLY_PROJECT", str(PROJECT))
    monkeypatch.delenv("TALLY_HOME", raising=False)
    return tmp_path


@pytest.mark.slow
def test_it_quotes_trains_and_bills_in_units_and_leaves_nothing(alone: Path) -> None:
    notebook = executed(alone / "work", SETTINGS='["epochs=1", "augment=1", "candidates="]')
    said = printed(notebook)
    assert "colab-cpu: 0.08 compute units ($0.0080) an hour" in said
    assert "Quote of cnn" in said and "Bill of cnn" in said
    found = re.search(r"([\d.]+) compute units \(\$([\d.]+)\) of colab-cpu for ([\d.]+) sec", said)
    assert found
    units, usd, seconds = map(float, found.groups())
    assert units == pytest.approx(seconds / 3600 * 0.08, rel=0.02)
    assert usd == pytest.approx(units * 0.0999, rel=0.02)
    assert re.search(r"test accuracy [89]\d\.\d\d%", said)
    (page,) = [
        output.data["text/html"]
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if output.output_type == "display_data"
    ]
    assert "How good the model is" in page
    left = [path for name in ("home", "tmp", "work") for path in (alone / name).rglob("*")]
    assert not left


def test_what_it_lacks_is_one_line(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TALLY_PROJECT")
    with pytest.raises(CellExecutionError, match=r"expected the project in .* or its address"):
        executed(alone / "work")


def test_no_output_is_kept_in_it() -> None:
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)
