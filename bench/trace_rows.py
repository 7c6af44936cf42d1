"""Step times of bench/traces as observations; its README says what they are."""

import csv
from pathlib import Path

from tally.scaling.stepfit import Observation

TRACES = Path(__file__).parent / "traces"
APPLICATIONS = ("bert", "cifar10", "deepspeech2", "imagenet")


def placements(application: str) -> list[Observation]:
    """Of placements.csv: 1 to 16 GPUs in every way that four nodes of four hold them."""
    found = []
    for row in table(application, "placements"):
        gpus = [int(digit) for digit in row["placement"]]
        found.append(observed(row, sum(gpus), len(gpus)))
    return found


def scalability(application: str) -> list[Observation]:
    """Of scalability.csv: 6 to 64 GPUs on 6 to 16 nodes."""
    return [
        observed(row, int(row["num_replicas"]), int(row["num_nodes"]))
        for row in table(application, "scalability")
    ]


def table(application: str, name: str) -> list[dict[str, str]]:
    with (TRACES / application / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def observed(row: dict[str, str], workers: int, nodes: int) -> Observation:
    return Observation(
        workers=workers,
        nodes=nodes,
        examples_per_worker=float(row["local_bsz"]),
        step_seconds=float(row["step_time"]),
        sync_seconds=float(row["sync_time"]),
    )
