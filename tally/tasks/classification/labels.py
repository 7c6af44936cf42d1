"""Labels of a dataset: whole numbers from 0 without gaps."""

from collections.abc import Iterable

from tally.errors import DataError
from tally.tasks.task import Array

MOST_CLASSES = 65_536


def names(labels: Iterable[Array], where: str) -> tuple[str, ...]:
    """ "0", "1", … up to the highest label.

    Args:
        labels: the training split's, part by part, each int (n,).
        where: the first words of an error.

    Raises:
        DataError: negative, none, or too high to be a class.
    """
    highest = -1
    for part in labels:
        if len(part):
            lowest, highest = int(part.min()), max(highest, int(part.max()))
            if lowest < 0 or highest >= MOST_CLASSES:
                raise DataError(
                    f"{where}: expected labels from 0 to {MOST_CLASSES - 1}, got "
                    f"{lowest if lowest < 0 else highest}; number the classes from 0"
                )
    if highest < 0:
        raise DataError(f"{where}: expected training examples, got none; add some")
    return tuple(str(label) for label in range(highest + 1))


def check(labels: Array, classes: int, where: str) -> None:
    """Refuse labels that are no class (DataError).

    Args:
        labels: int (n,).
        classes: how many there are.
        where: the first words of an error.
    """
    if len(labels) and (int(labels.min()) < 0 or int(labels.max()) >= classes):
        wrong = int(labels.min()) if int(labels.min()) < 0 else int(labels.max())
        raise DataError(
            f"{where}: expected labels from 0 to {classes - 1}, got {wrong}; "
            "number the classes from 0, the same ones in both splits"
        )
