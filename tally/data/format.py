"""The on-disk dataset: a folder of memory-mapped shards, described by a `dataset.json`."""

import glob
import hashlib
import json
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tally import storage
from tally.data.checks import check_splits, single_examples
from tally.data.content import Array, Chunk, Content, Kind, Meta
from tally.data.mapped import Split
from tally.data.shards import (
    ShardWriter,
    corrupt,
    open_shard,
    verify_shard,
)
from tally.errors import DataError, check_schema

__all__ = [
    "SCHEMA",
    "Array",
    "Chunk",
    "Content",
    "Dataset",
    "Kind",
    "Meta",
    "Split",
    "open_dataset",
    "write",
]

SCHEMA = 1
SPLITS = ("train", "test")
DESCRIPTION = "dataset.json"


def write(folder: Path, content: Content, source: dict[str, Any]) -> None:
    """Make the dataset folder `folder` of `content`, whole or not at all.

    Needs memory for one chunk and one shard (64 MiB) a split. Of two writers of one folder the
    second waits and then uses what the first has made.

    Args:
        folder: where it goes; if it exists already it is left as it is.
        content: what goes into it.
        source: facts about where the examples come from, kept in dataset.json; its "fingerprint"
            becomes the dataset's, else one is made of the shards' checksums.

    Raises:
        DataError: examples that are not what the meta says, a class or a split without any.
        RunError: the disk is full.
    """
    with storage.disk(folder), storage.exclusive(folder.with_name(f".{folder.name}.lock")):
        if (folder / DESCRIPTION).is_file():
            return
        for stale in folder.parent.glob(f".{glob.escape(folder.name)}.*.tmp"):
            shutil.rmtree(stale, ignore_errors=True)  # its writer is dead: we hold the lock
        temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
        temporary.mkdir()
        try:
            _fill(temporary, content, source)
            temporary.rename(folder)
            storage.sync_folder(folder.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _fill(folder: Path, content: Content, source: dict[str, Any]) -> None:
    meta = content.meta
    splits = {split: ShardWriter(folder, split, meta) for split in SPLITS}
    for chunk in content.chunks():
        splits[chunk.split].add(chunk.x, chunk.y)
    for shards in splits.values():
        shards.flush()
    counts = {split: shards.counts() for split, shards in splits.items()}
    equal = [split for split, shards in splits.items() if shards.first is not None]
    check_splits(meta, counts, equal)
    shards_of_all = [shard for shards in splits.values() for shard in shards.shards]
    description = {
        "schema": SCHEMA,
        "fingerprint": source.get("fingerprint") or digest([meta.to_json(), shards_of_all]),
        "meta": meta.to_json(),
        "splits": counts,
        "shards": shards_of_all,
        "source": source,
        "left_out": dict(content.left_out),
    }
    if said := [*content.said(), *single_examples(meta, counts)]:
        description["said"] = said
    with storage.atomic_file(folder / DESCRIPTION) as file:
        file.write(json.dumps(description, indent=1, ensure_ascii=False).encode())


def digest(value: Any) -> str:
    """The SHA-256 of a JSON value, in hex; the order of keys does not matter."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Dataset:
    """An opened dataset folder.

    Attributes:
        meta: what a model must know.
        folder: where it lies.
        fingerprint: of what it was made of: equal means the same examples in the same order.
        splits: "train" and "test".
        source: where the examples come from.
        left_out: what of the source is no example, in words, and how many.
        said: what was done to the data and what is odd about it, a sentence each.
    """

    meta: Meta
    folder: Path
    fingerprint: str
    splits: dict[str, Split]
    source: dict[str, Any]
    left_out: dict[str, int] = field(default_factory=dict)
    said: tuple[str, ...] = ()


def open_dataset(folder: Path, verify: Iterable[str] = ()) -> Dataset:
    """Open a dataset folder; sizes are checked, examples are mapped, not read.

    Args:
        folder: made by `write`.
        verify: names of the splits whose checksums are checked too (reads them whole once).

    Raises:
        DataError: no dataset there, or not as it was written.
        SchemaError: a newer Tally wrote it.
    """
    path = folder / DESCRIPTION
    try:
        description = json.loads(path.read_bytes())
        check_schema(str(path), int(description["schema"]), SCHEMA)
        meta = Meta.from_json(description["meta"])
        entries = description["shards"]
        fingerprint, source = description["fingerprint"], description["source"]
        left_out = description.get("left_out", {})  # older ones left nothing out
        said = tuple(description.get("said", ()))
    except FileNotFoundError as error:
        raise DataError(
            f"{folder}: expected a dataset folder, got no {DESCRIPTION} there; "
            "check the path, or run the prepare step again"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise corrupt(path, "a dataset's description", f"{type(error).__name__} {error}") from error
    for entry in entries:
        if entry["split"] in verify:
            verify_shard(folder, entry)
    splits = {
        name: Split(tuple(open_shard(folder, e) for e in entries if e["split"] == name))
        for name in SPLITS
    }
    return Dataset(meta, folder, fingerprint, splits, source, left_out, said)
