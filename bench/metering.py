"""What metering costs the training that it meters.

    python -m bench.metering [--quick] [--check]

One worker trains the CNN on the digits as the train step has it do. Windows of a few seconds
follow each other in pairs, one metered (its usage row opened, kept alive and closed in a real
ledger, by the recorder that the steps use) and one not, which of them first by the toss of a
seeded coin. The throughput of a window is read off the worker's own progress. Metering's CPU time
is that of the recorder's thread over the metered windows, training's that of the worker in them;
what the recorder takes once a process (importing SQLAlchemy, opening the ledger) is told apart.

Targets: CPU share at most 0.5 %; over at least 20 pairs, the 95 % interval (bootstrap of the mean)
of the ratio metered : unmetered contains 1 or ends above 0.995.
--quick takes 4 pairs, too few for the target.
"""

import argparse
import json
import os
import queue
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil

from tally import clock
from tally.data import registry
from tally.data.format import open_dataset
from tally.gang import messages as say
from tally.gang.coordinator.events import Told
from tally.gang.coordinator.server import Coordinator
from tally.runcontext import RunContext
from tally.spec import Spec
from tally.steps.recorder import HEARTBEAT_SECONDS, Recorder, local_usage

WINDOW_SECONDS, PAIRS = 4.0, 24
CPU_SHARE, RATIO = 0.005, 0.995


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    pairs = 4 if arguments.quick else PAIRS
    with tempfile.TemporaryDirectory() as home:
        environment = {"HOME": home, "RUN_ID": "bench", "PIPELINE": "bench", "ATTEMPT": "1"}
        os.environ.update({f"TALLY_{name}": value for name, value in environment.items()})
        figures = measure(Path(home), pairs)
    figures["met"] = (
        figures["cpu_share"] <= CPU_SHARE
        and figures["pairs"] >= 20
        and (figures["ratio_low"] <= 1 <= figures["ratio_high"] or figures["ratio_high"] > RATIO)
    )
    print(f"pairs of {WINDOW_SECONDS:.0f} s windows   {figures['pairs']}")
    print(f"CPU, metering : training  {figures['cpu_share']:.3%}   (target at most 0.5 %)")
    print(f"once a process            {figures['once_seconds']:.2f} CPU-seconds")
    print(
        f"throughput ratio          {figures['ratio_mean']:.4f} "
        f"[{figures['ratio_low']:.4f}, {figures['ratio_high']:.4f}]   (95 % interval)"
    )
    print(json.dumps(figures))
    return 1 if arguments.check and not figures["met"] else 0


def measure(home: Path, pairs: int) -> dict[str, float]:
    """Figures of so many pairs of windows."""
    folder, _ = registry.prepare(Spec())
    config = say.WorkerConfig(
        dataset=str(folder), dataset_fingerprint=open_dataset(folder).fingerprint, model="cnn",
        epochs=100_000, batch_size=32, learning_rate=0.0001, seed=0,
        checkpoint_folder=str(home / "checkpoints"), checkpoint_seconds=30.0,
        model_folder=str(home / "model"), parent_pid=os.getpid(),
    )  # fmt: skip
    token = b"of-this-bench"
    (home / "token").write_bytes(token)
    progress: queue.Queue[tuple[float, int]] = queue.Queue()

    def told(event: object) -> None:
        if isinstance(event, Told) and isinstance(message := say.decode(event.line), say.Progress):
            progress.put((time.monotonic(), message.done_examples))

    coordinator = Coordinator(token, config.as_json(), told, workers=1)
    worker = training_worker(coordinator.address, home / "token")
    try:
        progress.get(timeout=60)
        recorder = Recorder()
        metered_window(worker.pid, recorder, progress)  # warm
        once = settled(recorder)
        coin, ratios, training = random.Random(0), [], 0.0
        for _ in range(pairs):
            rates = {}
            for metered in coin.sample([True, False], 2):
                if metered:
                    rates[True], cpu = metered_window(worker.pid, recorder, progress)
                    training += cpu
                else:
                    rates[False] = window(progress)
            ratios.append(rates[True] / rates[False])
        metering = settled(recorder) - once
    finally:
        worker.kill()
        worker.wait()
        coordinator.close()
    low, high = interval(ratios)
    return {
        "pairs": pairs,
        "cpu_share": metering / training,
        "once_seconds": once,
        "ratio_mean": float(np.mean(ratios)),
        "ratio_low": low,
        "ratio_high": high,
    }


def training_worker(address: str, token_file: Path) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "tally.learning.worker"],
        env={
            **os.environ,
            "TALLY_COORDINATOR": address,
            "TALLY_TOKEN_FILE": str(token_file),
            "TALLY_WORKER": "0",
        },
        stderr=subprocess.DEVNULL,
    )


def interval(ratios: list[float]) -> tuple[float, float]:
    """95 % of the mean, by bootstrap."""
    random_state = np.random.default_rng(0)
    means = random_state.choice(ratios, (10_000, len(ratios))).mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def metered_window(
    pid: int, recorder: Recorder, progress: "queue.Queue[tuple[float, int]]"
) -> tuple[float, float]:
    """Examples a second, and the worker's CPU seconds meanwhile."""
    before = psutil.Process(pid).cpu_times()
    row = local_usage(
        RunContext.read(), step="train", worker="0", pid=pid, container="worker", phase="work",
        start=clock.now_microseconds(), cores=2.0,
    )  # fmt: skip
    recorder.open(row, pid)
    rate = window(progress)
    recorder.close(row, clock.now_microseconds())
    after = psutil.Process(pid).cpu_times()
    return rate, after.user + after.system - before.user - before.system


def settled(recorder: Recorder) -> float:
    """The recorder's CPU seconds so far, its last write included."""
    time.sleep(2 * HEARTBEAT_SECONDS)
    assert recorder.error is None, recorder.error
    return recorder.cpu_seconds


def window(progress: "queue.Queue[tuple[float, int]]") -> float:
    """Examples a second over one window, from the first to the last progress inside it."""
    while not progress.empty():
        progress.get()
    first = progress.get(timeout=10)
    last = first
    while last[0] - first[0] < WINDOW_SECONDS:
        last = progress.get(timeout=10)
    return (last[1] - first[1]) / (last[0] - first[0])


if __name__ == "__main__":
    sys.exit(main())
