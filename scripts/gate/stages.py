"""The stages of the gate and of `make test-full`, as data."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

PYTEST = (".venv/bin/python", "-m", "pytest")
UNITS = "not slow and not timing and not faults"


@dataclass(frozen=True)
class Stage:
    """One row of the table.

    Attributes:
        command: run in the project's folder.
        usual_seconds: on 2 cores, with caches there, one of them out of date; the deadline is twice
            that.
        needs_root: runs as whoever runs the gate; all others run as an ordinary user.
        stays: what it started lasts after it, until the gate ends.
        stamp: a file that is there once its caches are.
        first_seconds: the deadline where the stamp is not there.
    """

    name: str
    command: tuple[str, ...]
    usual_seconds: float
    needs_root: bool = False
    stays: bool = False
    stamp: str = ""
    first_seconds: float = 0.0
    environment: Mapping[str, str] = field(default_factory=dict)


def pytest(name: str, usual_seconds: float, marks: str, *options: str) -> Stage:
    """A stage of unit tests, in worker processes of pytest-xdist: one that hangs is replaced."""
    return Stage(name, (*PYTEST, *options, "-m", marks), usual_seconds)


def cluster(name: str, usual_seconds: float, marks: str, *files: str) -> Stage:
    """A stage of tests against the cluster, which must outlive it."""
    run, which = ("tests/cluster/run.sh", *files), {"WHICH": marks}
    return Stage(name, run, usual_seconds, needs_root=True, stays=True, environment=which)


BUILD = ("sh", "-c", "tests/cluster/ready.sh && tests/cluster/down.sh")
FRESH = ("-n", "2", "--dist", "worksteal", "-m", "hypothesis and not slow")
PROPERTIES = Stage("properties", (*PYTEST, *FRESH), 90, environment={"TALLY_FRESH": "1"})
STATE = os.environ.get("STATE", "/var/cache/tally-cluster")
KUBECTL = f"{STATE}/bin/kubectl"
STAGES = {
    stage.name: stage
    for stage in (
        Stage("venv", ("make", "venv-dev"), 150, stamp=".venv/.tally-dev", first_seconds=600),
        Stage("build", BUILD, 210, needs_root=True, stamp=KUBECTL, first_seconds=1800),
        Stage("lint", ("make", "lint"), 45),
        # loadgroup and loadfile of pytest-xdist 3.8 come to no end once a process was replaced
        pytest("units", 400, UNITS, "-n", "2", "--dist", "worksteal"),
        pytest("timing", 120, "timing and not slow", "-n", "1"),
        pytest("faults", 180, "faults", "-n", "1"),
        Stage("cluster-up", ("tests/cluster/ready.sh",), 60, needs_root=True, stays=True),
        cluster("smoke", 420, "smoke"),
        PROPERTIES,
        pytest("slow", 2400, "slow", "-n", "1"),
        Stage("focus", ("sh", "scripts/test-focus.sh"), 120),
        cluster("cluster", 2500, "not slow"),
        cluster("cluster-slow", 2100, "slow"),
    )
}
TEST = ("lint", "units", "timing")
GATE = ("venv", "build", *TEST, "faults", "cluster-up", "smoke")
FULL = (
    *("venv", "build", *TEST, "faults", "properties", "slow", "focus"),
    *("cluster-up", "cluster", "cluster-slow"),
)
PLANS = {"test": TEST, "gate": GATE, "full": FULL}
