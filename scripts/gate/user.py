"""As whom stages that need no root run: where root runs the gate, an ordinary user with a copy."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

CACHE = Path("/var/cache/tally-gate")
NAME = "nobody"
_KEPT = {".venv", ".mypy_cache", ".ruff_cache", ".hypothesis"}


@dataclass(frozen=True)
class User:
    """Where and how commands run."""

    tree: Path
    prefix: Sequence[str]
    environment: Mapping[str, str]


def myself(project: Path) -> User:
    """Whoever runs this, where they run it."""
    return User(project, (), os.environ)


def ordinary(project: Path) -> User:
    """Whoever runs this, if that is not root; else `nobody`, with a copy of the files that git does
    not ignore, a home of its own and a bare environment."""
    if os.getuid() != 0:
        return myself(project)
    tree, home = CACHE / "tree", CACHE / "home"
    for folder in (tree, home):
        folder.mkdir(parents=True, exist_ok=True)
    for path in tree.iterdir():
        if path.name not in _KEPT:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    _copy(project, tree)
    owner = pwd.getpwnam(NAME)
    subprocess.run(["chown", "-R", "-h", f"{owner.pw_uid}:{owner.pw_gid}", str(CACHE)], check=True)
    prefix = (
        "setpriv", f"--reuid={owner.pw_uid}", f"--regid={owner.pw_gid}", "--clear-groups",
        "--inh-caps=-all", "--no-new-privs",
    )  # fmt: skip
    bare = {"HOME": str(home), "PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}
    return User(tree, prefix, bare)


def _copy(project: Path, tree: Path) -> None:
    known = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(known, cwd=project, check=True, capture_output=True).stdout
    for name in filter(None, listed.decode().split("\0")):
        source, target = project / name, tree / name
        if source.is_symlink() or source.is_file():  # one that was removed is still listed
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)
