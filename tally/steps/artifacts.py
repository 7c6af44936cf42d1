"""What one step leaves for the next: a path on this machine, something that travels on a cluster.

Kubeflow's local runner hands on an artifact's URI, which may be any folder. On a cluster KFP's
launcher uploads what lies at the artifact's path and brings it to the next step's pod; it fails on
a URI outside its store. There the model goes as it is, and of a dataset, which lies in TALLY_STORE
already, the few words that find it there.
"""

import json
import shutil
from pathlib import Path
from typing import Any

from tally.data import copies, registry
from tally.data.format import DESCRIPTION
from tally.errors import DataError, check_schema
from tally.runcontext import RunContext
from tally.storage import CloudPath, atomic_file, location

SCHEMA = 1


def leave_dataset(run: RunContext, artifact: Any, folder: Path, facts: dict[str, Any]) -> None:
    """Make the output artifact lead to a dataset folder.

    Args:
        run: whose.
        artifact: KFP's Dataset.
        folder: that prepare made.
        facts: what there is to know of it, its fingerprint among them.
    """
    artifact.metadata.update(facts)
    if not run.on_cluster:
        artifact.uri = str(folder)
        return
    words = {"schema": SCHEMA, "name": folder.name, "fingerprint": facts["fingerprint"]}
    artifact.metadata["stored"] = registry.published(folder)
    with atomic_file(Path(artifact.path)) as file:
        file.write(json.dumps(words).encode())


def leave_model(run: RunContext, artifact: Any, folder: Path, facts: dict[str, Any]) -> None:
    """Make the output artifact lead to, or be, a model folder."""
    artifact.metadata.update(facts)
    if not run.on_cluster:
        artifact.uri = str(folder)
        return
    shutil.copytree(folder, artifact.path, dirs_exist_ok=True)


def dataset_folder(path: str) -> Path:
    """The folder of a dataset that `leave_dataset` left; brought here from the store if need be.

    Args:
        path: the input artifact's, or a dataset folder.

    Raises:
        DataError: it is not in the store, or damaged there.
        SchemaError: a newer Tally left it.
        RunError: the store does not answer, or the disk is full.
    """
    left = Path(path)
    if not left.is_file():
        return left
    words = json.loads(left.read_bytes())
    check_schema(path, words["schema"], SCHEMA)
    folder = registry.datasets() / str(words["name"])
    place = location(registry.published(folder))
    if isinstance(place, CloudPath):
        get = copies.from_bucket(place)
        copies.bring(folder, words["fingerprint"], get, copies.PARALLEL)
    elif not (folder / DESCRIPTION).is_file():
        raise DataError(
            f"dataset: expected {folder}, which prepare made, got none; set TALLY_STORE to a "
            "bucket or a volume that all steps have"
        )
    return folder
