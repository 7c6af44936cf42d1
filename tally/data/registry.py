"""From what a user names to a dataset folder: packaged, a source, a bucket, a file of their own."""

import difflib
import importlib
import pkgutil
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, cast

from tally import buckets, storage
from tally.data import augment, copies, levels, packaged, snapshot, sources, user
from tally.data.content import Chunk, Content
from tally.data.format import DESCRIPTION, SCHEMA, digest, open_dataset, write
from tally.data.hashes import hashes
from tally.data.installed import package_file
from tally.data.reading import files_below, reading
from tally.errors import DataError, SpecError
from tally.spec import Spec
from tally.storage import CloudPath
from tally.userfile import is_user_file


class _Packaged(Protocol):
    VERSION: int
    OPTIONS: tuple[str, ...]
    FILE: tuple[str, str]

    def load(self, spec: Spec) -> Content: ...


class _Format(Protocol):
    VERSION: int
    OPTIONS: tuple[str, ...]
    LAYOUT: str

    def recognises(self, path: Path) -> bool: ...

    def load(self, path: Path, spec: Spec) -> Content: ...


@dataclass(frozen=True)
class _Source:
    """A dataset found: what identifies its examples, facts for people, and how to load it."""

    name: str
    loader: str
    version: int
    options: dict[str, Any]
    identity: Any
    facts: dict[str, Any]
    load: Callable[[], Content]


def names() -> tuple[str, ...]:
    """The packaged datasets: the files of tally/data/packaged/."""
    return tuple(module.name for module in pkgutil.iter_modules(packaged.__path__))


def _formats() -> dict[str, _Format]:
    """The source formats: the files of tally/data/sources/."""
    found = [module.name for module in pkgutil.iter_modules(sources.__path__)]
    return {n: cast(_Format, importlib.import_module(f"{sources.__name__}.{n}")) for n in found}


def _packaged(name: str) -> _Packaged:
    return cast(_Packaged, importlib.import_module(f"{packaged.__name__}.{name}"))


def check(spec: Spec) -> None:
    """Refuse what can be seen to be wrong without reading data: quick, before a run is made.

    Raises:
        DataError: an unknown name, nothing at the path, a layout that no format recognises, a
            malformed gs:// or s3:// address.
        SpecError: credentials in an address; a Python file that is missing, does not parse, or
            defines no dataset().
    """
    name = spec.dataset
    if name in names():
        package_file(*_packaged(name).FILE)
    elif buckets.is_address(name):
        buckets.bucket_and_object(name)
    elif is_user_file(name):
        user.check(name)
    else:
        _format_of(name, _existing(name))


def prepare(spec: Spec, progress: Callable[[int, int], None] | None = None) -> tuple[Path, bool]:
    """The dataset folder that `spec` asks for, made unless one of the same content exists.

    Where TALLY_STORE is a bucket the folder is published there once, and found there by the next
    machine instead of being made again.

    Args:
        spec: dataset and the parameters that shape examples.
        progress: called with examples done and their total (0 while that is unknown).

    Returns:
        The folder, and whether it existed already, here or in the store.

    Raises:
        DataError: the source is missing, unreadable, or not what its format says.
        SpecError: a parameter that does not suit the dataset.
        RunError: the disk is full, or the store does not answer.
    """
    source = _find(spec.dataset, spec)
    of_loader = {"loader": source.loader, "version": source.version, "options": source.options}
    fingerprint = digest(
        {"schema": SCHEMA, **of_loader, "name": source.name, "content": source.identity}
    )
    label = re.sub(r"[^A-Za-z0-9._-]+", "-", source.name).strip(".-")[:60] or "dataset"
    folder = datasets() / f"{label}-{fingerprint[:16]}"
    place = _place(folder)
    reused = (folder / DESCRIPTION).is_file()
    if reused:
        open_dataset(folder)
    elif place and copies.is_published(place):
        copies.bring(folder, fingerprint, copies.from_bucket(place), copies.PARALLEL)
        reused = True
    else:
        facts = {**source.facts, **of_loader, "fingerprint": fingerprint}
        _make(folder, source, facts, progress)
    if place:
        copies.publish(folder, place)
    return folder, reused


def made_before(fingerprint: str) -> Path | None:
    """The dataset folder of a fingerprint where an older version of its loader made it, else None.

    Raises:
        DataError: it is damaged.
    """
    for folder in datasets().glob(f"*-{fingerprint[:16]}"):
        source = open_dataset(folder).source
        known = _formats().get(source.get("loader", ""))
        if known and source["version"] < known.VERSION:
            return folder
    return None


def datasets() -> Path:
    """Where dataset folders are: TALLY_STORE if that is a folder, else $TALLY_HOME.

    Examples are mapped into memory, so those of a bucket are copied to this machine's disk.
    """
    store = storage.store()
    return (store if isinstance(store, Path) else storage.home()) / "datasets"


def _place(folder: Path) -> CloudPath | None:
    """Where a dataset folder is published; None where the store is no bucket."""
    store = storage.store()
    return store / "datasets" / folder.name if isinstance(store, CloudPath) else None


def published(folder: Path) -> str:
    """Where workers elsewhere find what `prepare` made: its address in the store, or its path.

    Args:
        folder: that `prepare` returned.
    """
    return str(_place(folder) or folder)


def _make(
    folder: Path,
    source: _Source,
    facts: dict[str, Any],
    progress: Callable[[int, int], None] | None,
) -> None:
    content = source.load()
    if "times" in source.options:
        content = augment.enlarged(content, source.options["times"])
    write(folder, _reporting(content, progress) if progress else content, facts)


def _reporting(content: Content, progress: Callable[[int, int], None]) -> Content:
    def chunks() -> Iterator[Chunk]:
        done = 0
        for chunk in content.chunks():
            yield chunk
            done += len(chunk.x)
            progress(done, content.examples)

    return replace(content, chunks=chunks)


def _find(name: str, spec: Spec) -> _Source:
    if name in names():
        return _find_packaged(name, spec)
    if buckets.is_address(name):
        local, facts = buckets.fetch(name, spec.snapshot_microseconds)
        identity = [[part["name"], part["version"]] for part in facts["objects"]]
        return _find_local(name, local, spec, [facts["bucket"], *identity], facts)
    if is_user_file(name):
        given = user.dataset(name)
        if isinstance(given, str):
            if is_user_file(given):
                raise SpecError(
                    f"{name}: expected dataset() to return arrays or a dataset, got the "
                    f"name of a Python file, {given}; return what its dataset() returns"
                )
            return _find(_beside(name, given), spec)
        facts = {"kind": "user", "path": str(Path(name).absolute())}
        options = {"times": spec.augment or 1}
        return _Source(
            Path(name).stem, "user", user.VERSION, options, user.identity(given), facts,
            lambda: user.load(name, given),
        )  # fmt: skip
    path = _existing(name)
    if (until := spec.snapshot_microseconds) is not None:
        path = snapshot.view(path, until)
    with reading(path, "a folder that this user can read", "check its permissions"):
        files = files_below(path) if path.is_dir() else [path]
    contents = hashes(files)
    identity = [
        [file.relative_to(path).as_posix() if file != path else "", *content]
        for file, content in zip(files, contents, strict=True)
    ]
    facts = {"kind": "path", "path": str(path), "bytes": sum(size for size, _ in contents)}
    return _find_local(name, path, spec, identity, facts)


def _find_packaged(name: str, spec: Spec) -> _Source:
    module = _packaged(name)
    options: dict[str, Any] = {option: getattr(spec, option) for option in module.OPTIONS}
    if "augment" not in options:
        options["times"] = spec.augment or 1
    identity = hashes([package_file(*module.FILE)])
    facts = {"kind": "packaged", "package": module.FILE[0]}
    return _Source(name, name, module.VERSION, options, identity, facts, lambda: module.load(spec))


def _find_local(
    name: str, path: Path, spec: Spec, identity: list[Any], facts: dict[str, Any]
) -> _Source:
    loader, module = _format_of(name, path)
    options = {option: getattr(spec, option) for option in module.OPTIONS}
    options["times"] = spec.augment or 1
    if path.is_dir() and levels.are_new(path):
        options["splits"] = "by name"
    return _Source(
        path.stem if path.is_file() else path.name, loader, module.VERSION, options, identity,
        facts, lambda: module.load(path, spec),
    )  # fmt: skip


def _beside(user_file: str, source: str) -> str:
    """A path that a user's file gives: beside that file if it is there, else as it stands."""
    beside = Path(user_file).absolute().parent / source
    return str(beside) if source not in names() and beside.exists() else source


def _existing(name: str) -> Path:
    storage.refuse_credentials(name)
    path = Path(name).expanduser().absolute()
    with reading(path, "a source that this user can read", "check its permissions"):
        if path.exists():
            return path
    if "://" in name:
        got, remedy = "another kind of address", "download it first"
    elif "/" in name or path.suffix:
        got, remedy = "no such file or folder", "check the path"
    else:
        near = difflib.get_close_matches(name, names(), n=1, cutoff=0.5)
        got = "an unknown name"
        remedy = f"did you mean {near[0]}?" if near else "choose one, or check the path"
    raise DataError(
        f"dataset: expected one of {', '.join(names())}, a file or folder, gs://…, s3://…, or a "
        f"Python file, got {name}, {got}; {remedy}"
    )


def _format_of(name: str, path: Path) -> tuple[str, _Format]:
    formats = _formats()
    with reading(path, "a source that this user can read", "check its permissions"):
        for loader, module in formats.items():
            if module.recognises(path):
                return loader, module
        empty = path.is_dir() and not any(path.iterdir())
    layouts = "; or ".join(module.LAYOUT for module in formats.values())
    raise DataError(
        f"{name}: expected {layouts}; got {'an empty folder' if empty else 'something else'}; "
        "bring the source into one of these layouts"
    )
