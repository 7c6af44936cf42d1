"""A real PostgreSQL of the tests' own, on a socket in a folder; Debian's package postgresql."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

from helpers.cluster.objects import until_true

FOLDERS = sorted(Path("/usr/lib/postgresql").glob("*/bin"))


def program(name: str) -> str:
    """Of the newest PostgreSQL; "" where there is none."""
    found = shutil.which(name) or (str(FOLDERS[-1] / name) if FOLDERS else "")
    return found if found and Path(found).exists() else ""


def postgresql(folder: Path) -> Iterator[str]:
    """Its URL; stopped when the test is over."""
    folder.mkdir()
    # it refuses to run as root
    user = (
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if not os.getuid() else []
    )
    if user:
        os.chown(folder, 65534, 65534)
        for parent in folder.parents:
            if parent.stat().st_uid == 0 and parent != Path("/"):
                parent.chmod(parent.stat().st_mode | 0o011)
    data = folder / "data"
    options = ["-A", "trust", "-U", "tally", "--no-sync", "-E", "UTF8"]
    made = [*user, program("initdb"), "-D", str(data), *options]
    subprocess.run(made, check=True, capture_output=True, env={"PATH": os.environ["PATH"]})
    with (folder / "log").open("ab") as log:
        server = subprocess.Popen(
            [*user, program("postgres"), "-D", str(data), "-k", str(folder), "-h", "", "-F"],
            stdout=log,
            stderr=log,
        )
    try:
        until_true(lambda: (folder / ".s.PGSQL.5432").exists(), 30)
        yield f"postgresql://tally@/postgres?host={folder}"
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(20)
