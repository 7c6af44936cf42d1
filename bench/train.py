"""How fast training goes against Keras's `fit`: same model, data, batch, machine, in one run.

    python -m bench.train [--quick] [--check]

Each round takes fresh models of one seed and trains them one after another for an epoch of the
digits: Tally's loop as the worker runs it (memory-mapped input, progress, the last checkpoint
included), `fit` on an array in memory and `fit` on a tf.data pipeline (the faster of the two
counts), and `fit(steps_per_execution=16)`. Compiling and a warm-up come before the clock, for
everyone; weights and optimiser are put back after it. Only whole batches, so that no contestant
compiles a last smaller one. A ratio is the median over the rounds of Keras's seconds by Tally's;
that of the best rounds stands beside it, for a machine that others use too.

Targets at batch 32: 1.35 × `fit` for the CNN, 1.1 × for the LSTM, 1.0 × steps_per_execution=16 for
both; mean test loss over the seeds within three standard errors of `fit`'s.
--quick trains on a fifth of the digits and three rounds instead of five.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tally.data.format import Dataset, open_dataset, write
from tally.data.mapped import Shard, Split
from tally.data.packaged import digits
from tally.learning.moment import StepPlan
from tally.learning.tensorflow import environment
from tally.models import registry
from tally.spec import Spec

BATCH, RATE = 32, 0.001
TARGETS = {"cnn": 1.35, "lstm": 1.1}
TARGET_GROUPED = 1.0
FIT, GROUPED = ("fit array", "fit tf.data"), "fit grouped 16"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    environment.load_keras()
    figures: dict[str, Any] = {"bench": "train", "batch_size": BATCH}
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / "digits", digits.load(Spec()), {"name": "digits"})
        dataset = open_dataset(Path(folder) / "digits")
        examples = len(dataset.splits["train"]) // (5 if arguments.quick else 1) // BATCH * BATCH
        train = first(dataset.splits["train"], examples)
        for name in TARGETS:
            figures[name] = measure(name, dataset, train, 3 if arguments.quick else 5)
            report(name, figures[name], examples)
    figures["met"] = all(figures[name]["met"] for name in TARGETS)
    print(json.dumps(figures))
    return 1 if arguments.check and not figures["met"] else 0


def first(split: Split, examples: int) -> Split:
    """`examples` of a split, spread over all of it, in memory for nobody's advantage."""
    x, y = split.gather(np.random.default_rng(0).permutation(len(split))[:examples])
    return Split((Shard(x, y),))


def measure(name: str, dataset: Dataset, train: Split, rounds: int) -> dict[str, Any]:
    """Seconds an epoch and test losses of every contestant, and what they say."""
    x, y = train.gather(np.arange(len(train)))
    arrays = (x.astype(np.float32) * np.float32(dataset.meta.input_scale), y)
    contestants: dict[str, Callable[[Any, int], float]] = {
        "tally": lambda model, seed: tally(model, dataset, train, seed),
        FIT[0]: lambda model, _: fit(model, arrays, pipeline=False, grouped=0),
        FIT[1]: lambda model, _: fit(model, arrays, pipeline=True, grouped=0),
        GROUPED: lambda model, _: fit(model, arrays, pipeline=False, grouped=16),
    }
    seconds: dict[str, list[float]] = {who: [] for who in contestants}
    losses: dict[str, list[float]] = {who: [] for who in contestants}
    for seed in range(rounds):
        order = list(contestants.items())
        for who, train_once in order if seed % 2 else order[::-1]:
            model = fresh(name, dataset, seed)
            seconds[who].append(train_once(model, seed))
            losses[who].append(test_loss(model, dataset))
    return judged(name, seconds, losses)


def fresh(name: str, dataset: Dataset, seed: int) -> Any:
    import keras

    keras.utils.set_random_seed(seed)
    return registry.build(name, dataset.meta)


class Quiet:
    """An outside that never pauses, and saves as a worker does."""

    def __init__(self, saver: Any) -> None:
        self.save = saver.save

    def paused(self) -> bool:
        return False

    def stopping(self) -> bool:
        return False

    def tell(self, message: Any) -> None:
        pass

    def observe(self, observation: Any) -> None:
        pass


def tally(model: Any, dataset: Dataset, train: Split, seed: int) -> float:
    from tally.gang.messages import WorkerConfig
    from tally.learning import elastic
    from tally.learning.position import Position
    from tally.learning.saving import Saver
    from tally.learning.standing import Place, Standing
    from tally.learning.tensorflow import backend

    plan = StepPlan(batch_size=BATCH, learning_rate=RATE, seed=seed)
    training = backend.prepare(model, dataset.meta, plan)
    kept = training.variables()
    training.run(*train.gather(np.arange(16 * BATCH)), 0, 0)
    training.assign(kept, "bench")
    with tempfile.TemporaryDirectory() as folder:
        config = WorkerConfig(
            dataset="", dataset_fingerprint="", model=model.name, epochs=1, batch_size=BATCH,
            learning_rate=RATE, seed=seed, checkpoint_folder=folder, checkpoint_seconds=30,
            model_folder="",
        )  # fmt: skip
        saver = Saver(config, training, {}, lambda message: None)
        standing = Standing(Position())
        began = time.perf_counter()
        elastic.train(config, training, train, standing, Place(), None, Quiet(saver))
        saver.wait()
        return time.perf_counter() - began


def fit(model: Any, arrays: Any, *, pipeline: bool, grouped: int) -> float:
    import keras
    import tensorflow as tf

    x, y = arrays
    model.compile(
        optimizer=keras.optimizers.Adam(RATE),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
        **({"steps_per_execution": grouped} if grouped else {}),
    )

    def inputs(n: int) -> dict[str, Any]:
        if not pipeline:
            return {"x": x[:n], "y": y[:n], "batch_size": BATCH}
        data = tf.data.Dataset.from_tensor_slices((x[:n], y[:n])).shuffle(n).batch(BATCH)
        return {"x": data.prefetch(tf.data.AUTOTUNE)}

    model.optimizer.build(model.trainable_variables)
    variables = [*model.variables, *model.optimizer.variables]
    kept = [v.numpy() for v in variables]
    model.fit(**inputs(16 * BATCH), verbose=0)
    for variable, value in zip(variables, kept, strict=True):
        variable.assign(value)
    whole = inputs(len(x))
    began = time.perf_counter()
    model.fit(**whole, verbose=0)
    return time.perf_counter() - began


def test_loss(model: Any, dataset: Dataset) -> float:
    from tally.learning.tensorflow import predict

    test = dataset.splits["test"]
    probabilities = predict.answers(model, test, dataset.meta)
    right = probabilities[np.arange(len(test)), test.targets()]
    return float(-np.log(np.maximum(right, 1e-7)).mean())


def judged(
    name: str, seconds: dict[str, list[float]], losses: dict[str, list[float]]
) -> dict[str, Any]:
    """The figures of one model, with whether they meet the targets."""
    keras_fit = min(FIT, key=lambda who: statistics.median(seconds[who]))
    ratios = {
        who: [k / t for k, t in zip(seconds[who], seconds["tally"], strict=True)]
        for who in (keras_fit, GROUPED)
    }
    mean, spread = statistics.mean, statistics.stdev
    n = len(losses["tally"])
    error = (spread(losses["tally"]) ** 2 / n + spread(losses[keras_fit]) ** 2 / n) ** 0.5
    apart = abs(mean(losses["tally"]) - mean(losses[keras_fit]))
    by_fit = statistics.median(ratios[keras_fit])
    by_grouped = statistics.median(ratios[GROUPED])
    return {
        "seconds": {who: statistics.median(values) for who, values in seconds.items()},
        "test_loss": {who: [mean(values), spread(values)] for who, values in losses.items()},
        "fit": keras_fit,
        "ratio_fit": by_fit,
        "ratio_fit_range": [min(ratios[keras_fit]), max(ratios[keras_fit])],
        "ratio_grouped": by_grouped,
        "ratio_grouped_range": [min(ratios[GROUPED]), max(ratios[GROUPED])],
        "best_fit": min(seconds[keras_fit]) / min(seconds["tally"]),
        "best_grouped": min(seconds[GROUPED]) / min(seconds["tally"]),
        "same_loss": apart <= 3 * error,
        "met": by_fit >= TARGETS[name] and by_grouped >= TARGET_GROUPED and apart <= 3 * error,
    }


def report(name: str, figures: dict[str, Any], examples: int) -> None:
    print(f"{name}: an epoch of {examples} digits, batch {BATCH}")
    for who, seconds in figures["seconds"].items():
        loss, spread = figures["test_loss"][who]
        step = 1000 * seconds / (examples / BATCH)
        print(
            f"  {who:16}{seconds:7.2f} s {step:6.2f} ms a step  test loss {loss:.3f} ± {spread:.3f}"
        )
    for key, what, target in (
        ("ratio_fit", figures["fit"], TARGETS[name]),
        ("ratio_grouped", GROUPED, TARGET_GROUPED),
    ):
        low, high = figures[f"{key}_range"]
        best = figures[key.replace("ratio", "best")]
        print(
            f"  tally is {figures[key]:.2f} × {what} ({low:.2f}–{high:.2f}; "
            f"best rounds {best:.2f}), target {target}"
        )
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
