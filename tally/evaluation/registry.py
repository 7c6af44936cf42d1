"""Versions of models and which of them is champion, in a folder or a bucket.

    registry/{model}/versions/{version}/…       files, and version.json, which is written last
    registry/{model}/champion.json              the one thing that ever changes, swapped whole

A version never changes and is complete once its version.json is there. The pointer changes only if
it still is what was read: of two promotions at once one wins, and the other is told and decides
anew. A kill leaves the pointer as it was or as it was to be.
"""

import hashlib
import json
import re
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tally import clock, storage
from tally.errors import DataError, SpecError, check_schema
from tally.evaluation import shelf
from tally.storage import Location

SCHEMA = 1
DESCRIPTION, POINTER = "version.json", "champion.json"
HISTORY = 100
_TRIES = 20
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,126}")
_VERSION = re.compile(r"\d{8}T\d{6}-[0-9a-f]{12}")


@dataclass(frozen=True)
class Version:
    """A complete version.

    Attributes:
        model: whose.
        name: time and a hash of its content.
        created_at_microseconds: UTC.
        files: by name, SHA-256 and bytes.
        lineage: run, pipeline, dataset (name, fingerprint, snapshot, distribution, reading),
            candidate, metrics, bill_usd, champion (the version that it was measured against).
    """

    model: str
    name: str
    created_at_microseconds: int
    files: dict[str, dict[str, Any]]
    lineage: dict[str, Any]


@dataclass(frozen=True)
class Reign:
    """A version's time as champion."""

    version: str
    since_microseconds: int
    by: str


@dataclass(frozen=True)
class Pointer:
    """Who is champion, and who was: the newest last; what was rolled back is in `undone`."""

    now: Reign
    before: tuple[Reign, ...] = ()
    undone: tuple[Reign, ...] = ()


class Registry:
    """The registry of a place.

    Args:
        place: a folder or a bucket's prefix; None: TALLY_STORE's registry/.
    """

    def __init__(self, place: Location | None = None) -> None:
        self.place = storage.store() / "registry" if place is None else place

    def add(self, model: str, files: Mapping[str, Path], lineage: Mapping[str, Any]) -> Version:
        """Keep files as a new version of the model, whole or not at all.

        Raises:
            SpecError: a name that is none.
            RunError: the disk is full, or the store does not take it.
        """
        described = {name: _described(path) for name, path in files.items()}
        now = clock.now_microseconds()
        text = json.dumps([described, dict(lineage), time.time_ns()], sort_keys=True, default=str)
        stamp = datetime.fromtimestamp(now / 1e6, UTC).strftime("%Y%m%dT%H%M%S")
        name = f"{stamp}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
        version = Version(_name(model), name, now, described, dict(lineage))
        document = json.dumps({"schema": SCHEMA, **asdict(version)}, indent=1).encode()
        shelf.put(self._versions(model) / name, files, DESCRIPTION, document)
        return version

    def version(self, model: str, name: str) -> Version:
        """A version by its name.

        Raises:
            DataError: there is none, or its description is damaged.
            SchemaError: a newer Tally wrote it.
        """
        if not _VERSION.fullmatch(name):
            raise SpecError(f"{name}: expected a version, got no name of one; see `tally champion`")
        place = self._versions(model) / name / DESCRIPTION
        document = self._document(place, model)
        if document is None:
            raise _corrupt(place, "a complete version", "none", model)
        try:
            return Version(**{k: v for k, v in document.items() if k != "schema"})
        except TypeError as error:
            raise _corrupt(place, "a version's description", str(error), model) from error

    def versions(self, model: str) -> list[str]:
        """The names of all complete versions, oldest first."""
        found = shelf.below(self._versions(model))
        return sorted(name for name in found if _VERSION.fullmatch(name))

    def models(self) -> list[str]:
        """The models that have versions."""
        return sorted(name for name in shelf.below(self.place) if _NAME.fullmatch(name))

    def pointer(self, model: str) -> Pointer | None:
        """Who is and was champion; None where nobody is.

        Raises:
            DataError: the pointer is damaged.
        """
        return self._read(model)[0]

    def champion(self, model: str) -> Version | None:
        """The champion, described; None where there is none.

        Raises:
            DataError: the pointer or the version is damaged.
        """
        pointer = self.pointer(model)
        return self.version(model, pointer.now.version) if pointer else None

    def fetch(self, version: Version, folder: Path) -> Path:
        """Bring a version's files into a folder, each checked against its SHA-256.

        Raises:
            DataError: one is missing or damaged.
        """
        folder.mkdir(parents=True, exist_ok=True)
        for name, facts in version.files.items():
            place = self._versions(version.model) / version.name / name
            path = folder / Path(name).name
            if not shelf.bring(place, path):
                raise _corrupt(place, "a file of the version", "none", version.model)
            if (found := _described(path)) != facts:
                raise _corrupt(
                    place, f"SHA-256 {facts['sha256']}", str(found["sha256"]), version.model
                )
        return folder

    def promote(self, version: Version, expected: str | None, by: str) -> bool:
        """Make a version champion if `expected` still is.

        Args:
            version: complete.
            expected: the champion's name that it was measured against; None: there was none.
            by: the run's id, or who asked.

        Returns:
            False where somebody else has changed the champion since, or it is champion already:
            nothing has changed then.
        """
        pointer, token = self._read(version.model)
        if (pointer.now.version if pointer else None) != expected or version.name == expected:
            return False
        reign = Reign(version.name, clock.now_microseconds(), by)
        before = (*pointer.before, pointer.now)[-HISTORY:] if pointer else ()
        undone = pointer.undone if pointer else ()
        return self._write(version.model, Pointer(reign, before, undone), token)

    def rollback(self, model: str, to: str | None, by: str) -> Version:
        """Make an earlier champion champion again.

        Args:
            model: whose.
            to: a version that was champion, or any complete one; None: the one before.
            by: who asked.

        Raises:
            SpecError: nobody is champion, or there is no earlier one.
            DataError: what is to be champion is damaged.
        """
        for _ in range(_TRIES):
            pointer, token = self._read(model)
            if pointer is None:
                raise SpecError(f"{model}: expected a champion, got none yet; see `tally champion`")
            target = to or (pointer.before[-1].version if pointer.before else None)
            if target is None or target == pointer.now.version:
                raise SpecError(
                    f"{model}: expected an earlier champion than {pointer.now.version}, got none; "
                    "see `tally champion`, and give --to VERSION"
                )
            version = self.version(model, target)
            named = [reign.version for reign in pointer.before]
            kept = pointer.before[: named.index(target)] if target in named else pointer.before
            changed = Pointer(
                Reign(target, clock.now_microseconds(), by),
                kept,
                (*pointer.undone, pointer.now)[-HISTORY:],
            )
            if self._write(model, changed, token):
                return version
        raise DataError(f"{model}: expected to swap the champion, got others at it; try again")

    def _versions(self, model: str) -> Location:
        return self.place / _name(model) / "versions"

    def _read(self, model: str) -> tuple[Pointer | None, str]:
        place = self.place / _name(model) / POINTER
        found = shelf.read(place)
        if found is None:
            return None, ""
        content, token = found
        try:
            document = json.loads(content)
            check_schema(str(place), int(document["schema"]), SCHEMA)
            reigns = {
                key: tuple(Reign(**each) for each in document[key]) for key in ("before", "undone")
            }
            return Pointer(Reign(**document["now"]), **reigns), token
        except (ValueError, KeyError, TypeError) as error:
            raise _corrupt(place, "a champion's pointer", type(error).__name__, model) from error

    def _write(self, model: str, pointer: Pointer, token: str) -> bool:
        document = {"schema": SCHEMA, **asdict(pointer)}
        content = json.dumps(document, indent=1).encode()
        return shelf.swap(self.place / model / POINTER, content, token)

    def _document(self, place: Location, model: str) -> dict[str, Any] | None:
        found = shelf.read(place)
        if found is None:
            return None
        try:
            document: dict[str, Any] = json.loads(found[0])
            check_schema(str(place), int(document["schema"]), SCHEMA)
        except (ValueError, KeyError, TypeError) as error:
            raise _corrupt(place, "a version's description", type(error).__name__, model) from error
        return document


def model_name(pipeline: str, dataset: str) -> str:
    """What a pipeline's models on a dataset are called in the registry."""
    plain = re.sub(r"[^a-z0-9._-]+", "-", f"{pipeline}-{dataset}".lower()).strip("-._")
    return plain[:127] or "model"


def without_files(version: Version) -> Version:
    """The same, without what its lineage has for machines only."""
    dataset = {k: v for k, v in version.lineage.get("dataset", {}).items() if k != "distribution"}
    return replace(version, lineage=version.lineage | {"dataset": dataset})


def _name(model: str) -> str:
    if not _NAME.fullmatch(model):
        raise SpecError(
            f"{model}: expected a model's name of a-z, 0-9, '.', '_' and '-', got another; see "
            "`tally champion`"
        )
    return model


def _described(path: Path) -> dict[str, Any]:
    with open(path, "rb") as file:
        return {
            "sha256": hashlib.file_digest(file, "sha256").hexdigest(),
            "bytes": path.stat().st_size,
        }


def _corrupt(place: Location, expected: str, got: str, model: str) -> DataError:
    return DataError(
        f"{place}: expected {expected}, got {got}; it is damaged or gone: see `tally champion "
        f"{model}`, and `tally rollback {model}`"
    )
