"""Smaller models of a CNN and an LSTM on fashion-mnist, beside TensorFlow's converter alone.

    python -m bench.compress [--quick] [--check] [--epochs N] [--home FOLDER]

The data is Debian's package dataset-fashion-mnist (make test-deps): trained on 60,000 pictures,
measured on the 10,000 of its test split, which neither training nor pruning nor calibration reads;
the LSTM reads a picture row by row. Both are trained by `tally submit`, compressed and measured by
`tally compress`. The converter alone converts the same trained model in the same run, with its own
settings, each in a process of its own; it gets the looped LSTM, since unrolling is Tally's.

Targets: of the CNN one candidate of at most 1/10 of the float .tflite's bytes that loses at most
0.5 point of accuracy, and a structured one at least 2 × as fast, one prediction at a time, that
loses at most 1 point; of the LSTM one of at most 1/3 of the bytes that loses at most 1 point.
--quick makes few candidates after one epoch, and checks nothing.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tally.compression.making import Candidate
from tally.compression.recipe import parse
from tally.data.format import Dataset, open_dataset
from tally.steps.measuring import measure

DATA = "/usr/share/datasets/fashion-mnist"
EPOCHS = 4
PLAIN = "float32 float16 dynamic int8 weights8 weights4"
RECIPES = {
    "cnn": f"{PLAIN} pruned50+int8 pruned80+int8 pruned90+int8 two_of_four+int8 "
    "structured50+float32 structured50+int8 structured50+weights4",
    "rnn": f"{PLAIN} pruned50+weights8 pruned80+weights8 pruned90+weights8 two_of_four+weights8 "
    "structured50+float32 structured50+weights8 structured50+weights4",
}
QUICK = dict.fromkeys(RECIPES, "float32 weights4 structured50+float32")
ALONE = ("float32", "float16", "dynamic", "int8")
# What a user of the converter writes; argv: model as .keras, examples as .npy, how, file
CONVERTER = """
import sys
import keras, numpy as np, tensorflow as tf
model, examples, how, file = sys.argv[1:]
converter = tf.lite.TFLiteConverter.from_keras_model(keras.saving.load_model(model, compile=False))
if how != "float32":
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
if how == "float16":
    converter.target_spec.supported_types = [tf.float16]
if how == "int8":
    rows = np.load(examples, allow_pickle=False)
    converter.representative_dataset = lambda: ([row[None]] for row in rows)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
open(file, "wb").write(converter.convert())
"""
Row = dict[str, Any]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--home", help="a folder whose ledger is gone on with")
    arguments = parser.parse_args()
    if not Path(DATA).exists():
        raise SystemExit(f"{DATA}: expected fashion-mnist, got nothing; run make test-deps")
    found = {}
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["TALLY_HOME"] = arguments.home or scratch
        for pipeline, recipes in (QUICK if arguments.quick else RECIPES).items():
            run = submitted(pipeline, 1 if arguments.quick else arguments.epochs)
            print(f"\n{pipeline}: {table_head()}", flush=True)
            rows = compressed(run, recipes, Path(scratch) / pipeline)
            for row in rows:
                print(line(row, rows[0]), flush=True)
            print("the converter alone", flush=True)
            for row in alone(run, Path(scratch) / pipeline, () if arguments.quick else ALONE):
                print(line(row, rows[0]), flush=True)
            found[pipeline] = rows
    if arguments.quick:
        return 0
    misses = checked(found["cnn"], found["rnn"])
    print("\n" + ("; ".join(misses) or "every target is met"))
    return 1 if misses and arguments.check else 0


def submitted(pipeline: str, epochs: int) -> str:
    """Train one; the run's id."""
    settings = {"dataset": DATA, "epochs": epochs, "seed": 1, "candidates": "", "promote": "false"}
    return str(tally("submit", pipeline, settings)["id"])


def compressed(run: str, recipes: str, folder: Path) -> list[Row]:
    """The rows of `tally compress`."""
    rows: list[Row] = tally("compress", run, {"candidates": recipes}, "--out", str(folder))[
        "candidates"
    ]
    return rows


def alone(run: str, folder: Path, ways: tuple[str, ...]) -> list[Row]:
    """The same of TensorFlow's converter."""
    import numpy as np

    from tally import storage
    from tally.compression.making import CALIBRATION
    from tally.compression.running import taken
    from tally.costing.ledger import open_ledger
    from tally.data import registry
    from tally.learning.tensorflow import predict
    from tally.runs.listing import find
    from tally.spec import validate

    spec = validate("bench", find(open_ledger(), run).spec)
    dataset = open_dataset(registry.prepare(spec)[0])
    model = predict.load(spec.model, dataset.meta, storage.run_folder(run) / "model")
    kept, examples = folder / "whole.keras", folder / "examples.npy"
    model.save(kept)
    train = dataset.splits["train"]
    chosen = np.linspace(0, len(train) - 1, CALIBRATION).astype(np.int64)
    np.save(examples, taken(train.gather(chosen)[0], dataset.meta))
    return [converted(dataset, kept, examples, way) for way in ways]


def converted(dataset: Dataset, model: Path, examples: Path, way: str) -> Row:
    """One conversion, measured as ours are."""
    file = model.with_name(f"alone-{way}.tflite")
    command = [sys.executable, "-c", CONVERTER, str(model), str(examples), way, str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        said = done.stderr.strip().splitlines()[-1:] or [""]
        why = f"signal {-done.returncode}" if done.returncode < 0 else said[0][:60]
        return {"name": f"  {way}", "failed": why}
    candidate = Candidate(parse(way), file, bytes=file.stat().st_size)
    return measure([candidate], dataset, None)[0].row | {"name": f"  {way}"}


def checked(cnn: list[Row], lstm: list[Row]) -> list[str]:
    """What misses its target."""
    misses = []
    if not any(small(row, cnn[0], 1 / 10, 0.005) for row in cnn):
        misses.append("no CNN of 1/10 of the bytes within 0.5 point")
    structured = [row for row in cnn if row["name"].startswith("structured") and not row["failed"]]
    if not any(
        seconds(cnn[0]) >= 2 * seconds(row) and lost(row, cnn[0]) <= 0.01 for row in structured
    ):
        misses.append("no structured CNN twice as fast within 1 point")
    if not any(small(row, lstm[0], 1 / 3, 0.01) for row in lstm):
        misses.append("no LSTM of 1/3 of the bytes within 1 point")
    return misses


def small(row: Row, whole: Row, share: float, points: float) -> bool:
    """Whether it is that small and loses no more."""
    return (
        not row["failed"] and row["bytes"] <= share * whole["bytes"] and lost(row, whole) <= points
    )


def lost(row: Row, whole: Row) -> float:
    """Accuracy."""
    return float(whole["test_accuracy"] - row["test_accuracy"])


def seconds(row: Row) -> float:
    """Of one prediction."""
    return float(row["latency"]["batch_1"]["median_seconds"])


def table_head() -> str:
    return "accuracy (95 %), bytes (share of float32), one prediction (times as fast)"


def line(row: Row, whole: Row) -> str:
    if row["failed"]:
        return f"{row['name']:24} failed: {row['failed']}"
    low, high = row["accuracy_interval"]
    return (
        f"{row['name']:24} {row['test_accuracy']:.4f} ({low:.4f}-{high:.4f}) "
        f"{row['bytes']:>10,} ({row['bytes'] / whole['bytes']:.3f}) "
        f"{1e3 * seconds(row):7.3f} ms ({seconds(whole) / seconds(row):.2f}x)"
    )


def tally(command: str, what: str, settings: dict[str, object], *more: str) -> Any:
    """Run a command of the package; what it says as JSON."""
    said = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
    done = subprocess.run(
        [sys.executable, "-m", "tally", command, what, *said, "--json", *more],
        stdout=subprocess.PIPE, text=True, timeout=3600, check=True,
    )  # fmt: skip
    return json.loads(done.stdout)


if __name__ == "__main__":
    sys.exit(main())
