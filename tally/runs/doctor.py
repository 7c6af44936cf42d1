"""What is missing on this machine and of its cluster, and the remedy."""

import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator

from tally import storage
from tally.errors import TallyError
from tally.machines.catalogue import machine
from tally.runs import connected, doctor_cluster
from tally.runs.finding import Finding, of_error

__all__ = ["Finding", "findings"]

NEEDED_BYTES = 3 * 10**9


def findings(*, probe: bool = False) -> Iterator[Finding]:
    """Look at everything: this machine first, then what the environment says of a cluster.

    Args:
        probe: then make a pod there that lists the store, and remove it again.
    """
    yield from _of_this_machine()
    yield from doctor_cluster.findings(probe=probe)


def _of_this_machine() -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield Finding("python", sys.version_info[:2] == (3, 11), version, "install Python 3.11")
    for module in ("tensorflow", "keras", "kfp", "safetensors", "sqlalchemy"):
        there = importlib.util.find_spec(module) is not None
        remedy = "remove .venv and run make again"
        yield Finding(module, there, "installed" if there else "not installed", remedy)
    try:
        home = storage.home()
    except TallyError as error:
        yield Finding("TALLY_HOME", False, str(error), "set TALLY_HOME")
    else:
        free = shutil.disk_usage(home).free
        remedy = "free some, or set TALLY_HOME to a larger disk"
        yield Finding("TALLY_HOME", True, str(home), "")
        yield _connection()
        yield Finding("disk", free >= NEEDED_BYTES, f"{free / 1e9:.1f} GB free", remedy)
    price = os.environ.get("TALLY_PRICE_PER_HOUR")
    try:
        found = f"${machine('local').price_usd_per_hour:.2f} an hour"
    except TallyError as error:
        yield of_error("price", error)
    else:
        remedy = "a guess, see tally/machines/local.yaml; set TALLY_PRICE_PER_HOUR to your own"
        yield Finding("price", price is not None, found, remedy, needed=False)
    for program in ("chromium",):
        path = shutil.which(program)
        remedy = "make test-deps (Debian, root); only tests of the report use it"
        yield Finding(program, path is not None, path or "not found", remedy, needed=False)


def _connection() -> Finding:
    """What `tally connect` kept, and whether it counts beside the environment."""
    kept = connected.kept()
    if kept is None:
        return Finding("connection", True, "none kept; the environment says where a cluster is", "")
    settings, where = kept.settings, f"{connected.file()}, of the context {kept.context or 'none'}"
    if not connected.counts(kept, os.environ):
        return Finding("connection", True, f"{where}, does not count beside this environment", "")
    # those that it has completed are the same by now
    other = [n for n in settings if os.environ.get(n) != settings[n]]
    words = f"; the environment says otherwise of {', '.join(other)}" if other else ""
    return Finding("connection", True, f"{where}{words}", "")
