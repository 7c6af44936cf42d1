"""The confusion matrix laid out."""

import pytest

from helpers.reports.records import evaluated
from tally.reports import matrix
from tally.reports.matrix import Matrix
from tally.tasks import reading
from tally.tasks.sections import Grid


def lay_out(evaluation: dict) -> Matrix | None:
    grids = reading.of(evaluation).sections(evaluation)
    found = [matrix.lay_out(grid) for grid in grids if isinstance(grid, Grid)]
    return found[0] if found else None


def test_every_example_is_in_one_cell_and_mistakes_are_ranked() -> None:
    found = lay_out(evaluated(10))
    assert found is not None
    assert sum(int(cell.label) for cell in found.cells) == 360
    assert [m.count for m in found.pairs] == sorted(m.count for m in found.pairs)[::-1]
    assert found.pairs[0].row in found.description


def test_a_single_mistake_among_thousands_is_still_seen() -> None:
    evaluation = {"class_names": ["a", "b"], "confusion": [[9999, 1], [0, 5000]]}
    found = lay_out(evaluation)
    assert found is not None
    (wrong,) = [cell for cell in found.cells if not cell.right]
    assert wrong.shade >= 0.12
    assert "< 0.1 % of a" in wrong.title


@pytest.mark.parametrize(("classes", "bundle"), [(100, 1), (101, 2), (1000, 10)])
def test_many_classes_share_cells_and_lose_no_example(classes: int, bundle: int) -> None:
    evaluation = evaluated(classes)
    found = lay_out(evaluation)
    assert found is not None
    assert found.bundle == bundle
    assert len(found.names) <= 17
    told = [int(cell.title.split(": ")[1].split(" (")[0].replace(",", "")) for cell in found.cells]
    assert sum(told) == 36 * classes


@pytest.mark.parametrize(
    "evaluation", [{}, {"class_names": ["a"], "confusion": [[0]]}, {"class_names": ["a"]}]
)
def test_nothing_counted_is_no_matrix(evaluation: dict) -> None:
    assert lay_out(evaluation) is None
