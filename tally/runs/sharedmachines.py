"""The machine types that a cluster's steps and meter know, brought to a person's machine."""

import shutil
from pathlib import Path
from typing import Any

from tally import storage
from tally.errors import SpecError, TallyError
from tally.kube.cluster import Cluster, Refused
from tally.machines.catalogue import load_with
from tally.runs.finding import Finding, of_error

CONFIG_MAP = "tally-machines"
_WHAT = "machine types"
_SECONDS = 4.0
_NOT_SEEN = (403, 404)


def brought(cluster: Cluster, namespace: str) -> tuple[Finding, Path | None]:
    """What was found, and the folder for TALLY_MACHINES; None where nothing was.

    Args:
        cluster: as whoever connects.
        namespace: of the runs' pods.

    Raises:
        Refused: the API server does not answer. RunError: the disk is full.
    """
    where = f"ConfigMap {namespace}/{CONFIG_MAP}"
    path = f"api/v1/namespaces/{namespace}/configmaps/{CONFIG_MAP}"
    try:
        data: dict[str, Any] = cluster.request("GET", path, seconds=_SECONDS).get("data") or {}
    except Refused as error:
        if error.status not in _NOT_SEEN:
            raise
        remedy = "where there are types of its own, name a copy of them in TALLY_MACHINES"
        found = f"no {where} that one may get"
        return Finding(_WHAT, False, found, remedy, needed=False), None
    folder = storage.home() / "machines"
    try:
        names = _written(folder, data)
    except TallyError as error:
        return of_error(f"{_WHAT} of {where}", error), None
    found = f"{', '.join(names) or 'none'} of {where}, kept in {folder}"
    return Finding(_WHAT, True, found, ""), folder


def _written(folder: Path, data: dict[str, Any]) -> list[str]:
    """The files, in place of those that were there, once they can be read; the types' names.

    Raises:
        SpecError: one is no file of machine types.
    """
    new = folder.with_name("machines.new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    for name, text in data.items():
        if not name.endswith(".yaml"):  # of a ConfigMap: it has no slash
            raise SpecError(f"expected names that end in .yaml, got {name[:100]}; rename it")
        with storage.atomic_file(new / name) as file:
            file.write(str(text).encode())
    kinds = load_with(new).machine_types.values()
    shutil.rmtree(folder, ignore_errors=True)
    new.rename(folder)
    return sorted(kind.name for kind in kinds if Path(kind.file).parent == new)
