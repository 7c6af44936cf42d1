"""What submitting to Kubeflow Pipelines costs before the run is there.

    python -m bench.submit [--quick] [--check]

Runs `tally submit cnn` as a process of its own against a server on this machine that gives a real
one's recorded answers (tests/helpers/contract/replay.py). Seconds are from the process's start to
the moment in which the server made the run, less what Python itself takes to start. The first
round, which may read everything from the disk, counts too.

Target: the median of the rounds at most 3 s. --quick makes three rounds and not ten.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from helpers.contract.replay import Replay, serving

TARGET_SECONDS = 3.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    rounds = 3 if arguments.quick else 10
    with serving(Replay()) as replay, tempfile.TemporaryDirectory() as home:
        created: list[float] = []
        replay.created = lambda server: created.append(time.monotonic())
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("KFP_")},
            "KFP_HOST": replay.host,
            "KUBECONFIG": str(Path(home) / "none"),
            "TALLY_HOME": home,
        }
        took = [submitted(environment, created) - python_start() for _ in range(rounds)]
    median = statistics.median(took)
    print("from `tally submit cnn` to a run that is created, beyond Python's start")
    print(f"  median {median:.2f} s, range {min(took):.2f}–{max(took):.2f}, first {took[0]:.2f}")
    met = median <= TARGET_SECONDS
    print(json.dumps({"bench": "submit", "created_seconds": median, "met": met}))
    return 1 if arguments.check and not met else 0


def submitted(environment: dict[str, str], created: list[float]) -> float:
    """Seconds until the run was there; the command itself goes on to the run's end."""
    began = time.monotonic()
    subprocess.run(
        [sys.executable, "-m", "tally", "submit", "cnn"],
        env=environment,
        stdout=subprocess.DEVNULL,
        timeout=120,
        check=True,
    )
    return created[-1] - began


def python_start() -> float:
    """Seconds that a Python which does nothing takes."""
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", "pass"], check=True, timeout=60)
    return time.monotonic() - began


if __name__ == "__main__":
    sys.exit(main())
