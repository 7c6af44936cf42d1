"""Where the seconds of `tally submit cnn` go that are not training.

    python -m bench.overhead [--quick] [--check]

Submits the CNN for real, several times with the dataset already prepared and once from nothing,
and reads each run's usage and events: training is the time from the first step to the last, all
else is overhead. The table's lines are disjoint and add up to the wall clock.

Target: median overhead under 15 s (two TensorFlow imports).
--quick submits once after the first, and trains one epoch.
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

from tally import events

TARGET_SECONDS = 15.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    epochs, times = ("1", 1) if arguments.quick else ("5", 5)
    with tempfile.TemporaryDirectory() as home:
        os.environ["TALLY_HOME"] = home
        runs = [run(Path(home), epochs) for _ in range(1 + times)]
    first, others = runs[0], runs[1:]
    print(f"{'':36}{'first run':>10}{'median of ' + str(times):>14}")
    median = {name: statistics.median(each[name] for each in others) for name in first}
    for name in first:
        print(f"{name:36}{first[name]:>9.2f}s{median[name]:>13.2f}s")
    figures = {
        "bench": "overhead",
        "first_overhead_seconds": first["overhead"],
        "overhead_seconds": median["overhead"],
        "met": median["overhead"] < TARGET_SECONDS and first["overhead"] < TARGET_SECONDS,
    }
    print(json.dumps(figures))
    return 1 if arguments.check and not figures["met"] else 0


def run(home: Path, epochs: str) -> dict[str, float]:
    """Seconds by what they went into, of one submit."""
    command = [
        sys.executable,
        "-m",
        "tally",
        "submit",
        "cnn",
        "--set",
        f"epochs={epochs}",
        "--json",
    ]
    began = time.monotonic()
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    wall = time.monotonic() - began
    said = json.loads(done.stdout)
    lines = {(line["step"], line["phase"]): line["seconds"] for line in said["bill"]["lines"]}
    seen = list(events.read(home / "runs" / said["id"]))
    ready = next(event for event in seen if event["event"] == "ready")["startup_seconds"]
    training = next(
        json.loads(path.read_text())["seconds"]
        for path in [home / "runs" / said["id"] / "model" / "training.json"]
    )
    startup = sum(ready.values())
    rows = {
        "submit: start, checks, Kubeflow": float(lines["submit", "startup"]),
        "prepare: start": float(lines["prepare", "startup"]),
        "prepare: validate, make or reuse": float(lines["prepare", "work"]),
        "plan: the step": float(lines["plan", "startup"]) + float(lines["plan", "work"]),
        "train: worker imports TensorFlow": ready["import"],
        "train: worker builds and traces": startup - ready["import"],
        "train: conductor, saving the model": float(lines["train", "startup"])
        + float(lines["train", "work"])
        - startup
        - training,
        "evaluate: start": float(lines["evaluate", "startup"]),
        "evaluate: TensorFlow, candidates": float(lines["evaluate", "work"]),
        "bill: the step": float(lines["bill", "startup"]) + float(lines["bill", "work"]),
    }
    rows["submit: print and leave"] = wall - training - sum(rows.values())
    return {**rows, "overhead": wall - training, "training": training, "wall": wall}


if __name__ == "__main__":
    sys.exit(main())
