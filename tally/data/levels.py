"""Names that say which split something is for, whoever gave them: train, Testing, val.csv."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from tally.data.content import Content, SplitName
from tally.data.reading import files_below
from tally.errors import DataError

VALIDATION = "validation"
_NAMES = {
    "train": "train", "training": "train", "test": "test", "testing": "test",
    "val": VALIDATION, "valid": VALIDATION, "validation": VALIDATION, "dev": VALIDATION,
}  # fmt: skip


def split_named(name: str) -> str:
    """train, test or validation, in whatever way it is written; "" where a name is of no split."""
    return _NAMES.get(name.strip().lower(), "")


@dataclass(frozen=True)
class Levels:
    """What of a source is for which split.

    Attributes:
        root: what has the training examples; all of them, where `given` is empty.
        given: train and test, where the source says; its validation split is the test split where
            it has no other.
        left_out: as Content.
        said: as Content.
    """

    root: Path
    given: dict[SplitName, Path] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)
    said: tuple[str, ...] = ()

    def told(self, content: Content) -> Content:
        """The content of these, with what there is to say of them."""
        left_out, said = {**content.left_out, **self.left_out}, content.said
        return replace(content, left_out=left_out, said=lambda: [*self.said, *said()])


def root_of(folder: Path) -> Path:
    """What has the training examples, by names alone: a folder's train/, or the folder itself."""
    entries = (e for e in sorted(folder.iterdir()) if split_named(e.name) == "train" and e.is_dir())
    return next(entries, folder)


def are_new(folder: Path) -> bool:
    """Whether versions that knew exactly train/ and test/ read the folder otherwise."""
    names = {entry.name for entry in folder.iterdir() if entry.is_dir()}
    return not {"train", "test"} <= names and any(map(split_named, names))


def levels(folder: Path) -> Levels:
    """A folder's folders that are named like splits; none of them can be a class.

    Raises:
        DataError: two of one split, one alone among others, or none to train on.
    """
    here = [e for e in sorted(folder.iterdir()) if e.is_dir() and e.name[0] != "."]
    named = by_split(folder, here)
    if not named:
        return Levels(folder)
    files = {e.name: len(files_below(e)) for e in here if not split_named(e.name)}
    others = {name: count for name, count in files.items() if count}
    if others and len(named) == 1:
        (some,) = (entry.name for entry in named.values())
        raise DataError(
            f"{folder}: expected train/ and test/, or folders of classes, got {some}/ beside "
            f"{next(iter(others))}/; a folder named like a split is no class: rename or move one"
        )
    found = chosen(folder, named)
    beside = {f"files of {name}/, which is no split": count for name, count in others.items()}
    return replace(found, left_out={**found.left_out, **beside})


def by_split(where: Path, entries: Iterable[Path]) -> dict[str, Path]:
    """Files or folders by the split that they are named like; others are not in it.

    Raises:
        DataError: two are of one split.
    """
    named: dict[str, Path] = {}
    for entry in entries:
        if not (split := split_named(entry.stem if entry.is_file() else entry.name)):
            continue
        if split in named:
            raise DataError(
                f"{where}: expected one {split} split, got {named[split].name} and {entry.name}; "
                "put them together or remove one"
            )
        named[split] = entry
    return named


def chosen(where: Path, named: Mapping[str, Path]) -> Levels:
    """What is trained and tested on, of a source's splits.

    Raises:
        DataError: none is to train on.
    """
    if "train" not in named:
        raise DataError(
            f"{where}: expected train beside {', '.join(e.name for e in named.values())}, got "
            "none; a folder or file named like a split is no class: add train, or rename it"
        )
    train, test, validation = named["train"], named.get("test"), named.get(VALIDATION)
    if test and validation:
        files = len(files_below(validation)) if validation.is_dir() else 1
        left_out = {f"files of the validation split {validation.name}": files}
        return Levels(train, {"train": train, "test": test}, left_out)
    if validation:
        said = f"the validation split {validation.name} is tested on: there is no test split"
        return Levels(train, {"train": train, "test": validation}, said=(said,))
    return Levels(train, {"train": train, "test": test} if test else {})
