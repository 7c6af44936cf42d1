"""What the ledger costs in time and memory, and how near its figures are to the truth.

    python -m bench.ledger [--quick] [--check]

Three parts, all in SQLite:

- local: 10,000 runs with 100,000 intervals on one machine, a quarter of them beside another, one in
  twenty killed and resumed. Target: all of them billed (read, merged, charged, bills made) in under
  2 seconds, the median of three.
- cluster: 10,000 simulated pods that last 5 seconds to 3 hours (seven in ten 5 minutes on average),
  with bursts above what they ask for, as the meter sees them: moments in whole seconds, CPU from a
  counter read every 15 seconds. The ledger's charges against the exact truth, beside two samplers
  and beside other ways to guess what came after the last reading. Target: at most 0.1 % off in
  total and 1 % in the median of the pods.
- week: 50,000 such pods in a week, written, every run billed, every node accounted for, in a
  process of its own. Target: all bills in under 10 seconds, the accounts too, under 500 MB.

--quick takes a tenth of everything, and a tenth of the time.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench import ledger_cluster, ledger_local, ledger_week

CLUSTER_PODS = 10_000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    tenth = 10 if arguments.quick else 1
    with tempfile.TemporaryDirectory() as folder:
        # first: a process's peak begins with that of the one that started it
        week = in_a_process_of_its_own(Path(folder), ledger_week.PODS // tenth)
        local = ledger_local.measure(Path(folder), ledger_local.RUNS // tenth)
        cluster = ledger_cluster.measure(Path(folder), CLUSTER_PODS // tenth)
    local["target_seconds"] = ledger_local.TARGET_SECONDS / tenth
    met = {
        "local": local["bill_seconds"] < local["target_seconds"],
        "cluster": ledger_cluster.met(cluster),
        "week": ledger_week.met(week, ledger_week.TARGET_SECONDS / tenth),
    }
    for name, part in (("local", local), ("cluster", cluster), ("week", week)):
        show(name, part, met[name])
    figures = {**local, "cluster": cluster, "week": week, "met": all(met.values())}
    print(json.dumps({"bench": "ledger", **figures}))
    return 1 if arguments.check and not figures["met"] else 0


def in_a_process_of_its_own(folder: Path, pods: int) -> dict[str, float]:
    """A week's figures; its peak of memory is nobody else's."""
    command = [sys.executable, "-m", "bench.ledger_week", str(folder), str(pods)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout))


def show(part: str, figures: Mapping[str, Any], met: bool) -> None:
    print(f"{part}: target {'met' if met else 'MISSED'}")
    for name, value in figures.items():
        if name.endswith(("_error", "_missed")):
            print(f"  {name:44} {value:>13.4%}")
        elif isinstance(value, float):
            print(f"  {name:44} {value:>13,.3f}")
        else:
            print(f"  {name:44} {value:>13,}")


if __name__ == "__main__":
    sys.exit(main())
