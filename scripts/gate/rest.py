"""What the gate leaves out, in parts that take turns by the number of commits."""

import re
import subprocess
from pathlib import Path

from gate.stages import STAGES, Stage, cluster, pytest


def parts(project: Path) -> list[Stage]:
    """A file's slow tests, a file on the cluster, FOCUS, properties: whose turn it is first."""
    found = [STAGES["focus"], STAGES["properties"]]
    for path in sorted((project / "tests").rglob("test_*.py")):
        file, text = path.relative_to(project).as_posix(), path.read_text(encoding="utf-8")
        if path.parent.name == "cluster":
            found.append(cluster(file, 0, "not smoke", file))
        elif re.search(r"mark\.slow\b", text):
            found.append(pytest(file, 0, "slow", "-n", "1", file))
    count = ["git", "rev-list", "--count", "HEAD"]
    told = subprocess.run(count, cwd=project, capture_output=True, text=True, check=False).stdout
    first = int(told or 0) % len(found)
    return found[first:] + found[:first]
