"""Whether two workers train faster than one process that has all cores, at the same global batch.

    python -m bench.gang [--quick] [--check]

Real worker processes, with the real coordinator, train the LSTM on the digits: a lone one with all
cores of the machine, which takes many steps in one call, and a gang of two with one core each over
the mesh; one after the other, and the other way round in the next round. Start-up and the first
epoch are left out. A ratio is the median over the rounds of the lone one's seconds an epoch by the
gang's, from each round's fastest epochs (the median stands beside it in the JSON).

Target: more than 1 for the LSTM at the batch that the packaged rnn pipeline takes (32).
The LSTM at 256 examples a batch and the CNN are reported. --quick takes one round of the target.
"""

import argparse
import json
import os
import queue
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tally.data.format import open_dataset, write
from tally.data.packaged import digits
from tally.gang.coordinator.events import Observed, Told
from tally.gang.coordinator.server import Coordinator
from tally.gang.local_gang import LocalGang
from tally.gang.messages import EpochEnd, Failed, Finished, WorkerConfig, decode
from tally.spec import Spec

CASES = (("lstm", 32), ("lstm", 256), ("cnn", 32))
TARGET_CASE, TARGET = CASES[0], 1.0
ROUNDS, EPOCHS = 3, 3
DEADLINE_SECONDS = 300.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    figures: dict[str, Any] = {"bench": "gang"}
    with tempfile.TemporaryDirectory() as folder:
        dataset = Path(folder) / "digits"
        write(dataset, digits.load(Spec()), {"name": "digits"})
        for model, batch in CASES[:1] if arguments.quick else CASES:
            found = measure(Path(folder), model, batch, 1 if arguments.quick else ROUNDS)
            figures[f"{model} {batch}"] = found
            report(model, batch, found)
    figures["met"] = figures[" ".join(map(str, TARGET_CASE))]["ratio"] > TARGET
    print(json.dumps(figures))
    return 1 if arguments.check and not figures["met"] else 0


def measure(folder: Path, model: str, batch: int, rounds: int) -> dict[str, Any]:
    """Seconds an epoch of both, a figure a round, and their ratio."""
    seconds: dict[int, list[list[float]]] = {1: [], 2: []}
    sync: list[float] = []
    for number in range(rounds):
        for workers in (1, 2) if number % 2 else (2, 1):
            epochs, waits = train(folder, model, batch, workers)
            seconds[workers].append(epochs)
            sync += waits if workers == 2 else []
    best = {n: [min(epochs) for epochs in found] for n, found in seconds.items()}
    middle = {n: [statistics.median(epochs) for epochs in found] for n, found in seconds.items()}
    ratios = [one / two for one, two in zip(best[1], best[2], strict=True)]
    return {
        "seconds": seconds,
        "epoch_seconds": {n: statistics.median(found) for n, found in best.items()},
        "sync_seconds": statistics.median(sync),
        "ratio": statistics.median(ratios),
        "ratio_range": [min(ratios), max(ratios)],
        "ratio_of_medians": statistics.median(
            one / two for one, two in zip(middle[1], middle[2], strict=True)
        ),
    }


def train(folder: Path, model: str, batch: int, workers: int) -> tuple[list[float], list[float]]:
    """Seconds of each epoch but the first, and of sums as workers told them."""
    here = Path(tempfile.mkdtemp(dir=folder))
    dataset = open_dataset(folder / "digits")
    config = WorkerConfig(
        dataset=str(dataset.folder), dataset_fingerprint=dataset.fingerprint, model=model,
        epochs=1 + EPOCHS, batch_size=batch, learning_rate=0.001, seed=1,
        checkpoint_folder=str(here / "checkpoints"), checkpoint_seconds=1e9,
        model_folder=str(here / "model"), max_workers=workers, cores=0 if workers == 1 else 1,
        parent_pid=os.getpid(),
    )  # fmt: skip
    token = here / "token"
    token.write_bytes(b"bench-gang")
    happened: queue.Queue[Any] = queue.Queue()
    coordinator = Coordinator(b"bench-gang", config.as_json(), happened.put, workers=workers)
    gang = LocalGang({"TALLY_COORDINATOR": coordinator.address, "TALLY_TOKEN_FILE": str(token)})
    epochs: list[float] = []
    waits: list[float] = []
    deadline = time.monotonic() + DEADLINE_SECONDS
    try:
        gang.start(workers)
        while True:
            event = happened.get(timeout=max(0.0, deadline - time.monotonic()))
            if isinstance(event, Observed):
                waits.append(event.observation.sync_seconds)
            said = decode(event.line) if isinstance(event, Told) else None
            if isinstance(said, EpochEnd):
                epochs.append(said.seconds)
            if isinstance(said, Failed):
                raise RuntimeError(said.message)
            if isinstance(said, Finished):
                return epochs[1:], waits
    finally:
        coordinator.close()
        gang.stop(5.0)


def report(model: str, batch: int, figures: dict[str, Any]) -> None:
    one, two = figures["epoch_seconds"].values()
    low, high = figures["ratio_range"]
    print(
        f"{model:5} batch {batch:4}  one process {one:6.2f} s an epoch, two workers {two:6.2f} s "
        f"(a sum {1000 * figures['sync_seconds']:.2f} ms)  {figures['ratio']:.2f} × as fast "
        f"({low:.2f}–{high:.2f})"
    )
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
