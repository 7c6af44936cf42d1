"""One number an example: squared error of the standardised number, R² of what is predicted."""

from collections.abc import Iterable, Mapping
from typing import Any

from tally.errors import DataError
from tally.tasks.plain import RESAMPLES, SCHEMA, Plain, Scored
from tally.tasks.sections import Chart, Fact, Mark, Section, Series, Shown
from tally.tasks.task import (
    Array,
    Batch,
    Column,
    Facts,
    Head,
    Headline,
    Kind,
    Loss,
    Target,
    Tensor,
)

DRAWN = 400  # test examples in the report's plot


class Regression(Plain):
    """Targets are numbers (n,). A model gives (n, 1): the number less the training split's mean, in
    its standard deviations, so that losses and learning rates are those of any scale."""

    name = "regression"
    totals = ("absolute_error",)
    columns: Mapping[str, Column] = {"mae": Column("Training error, mean absolute", False, 0.0)}
    reported: Mapping[str, Kind] = {
        "test_r2": Kind(higher_is_better=True),
        "test_mae": Kind(),
        "test_rmse": Kind(),
    }
    headline = Headline(
        "test_r2", "R²", "R²", share=False, higher_is_better=True, interval="r2_interval"
    )

    def prepare(self, targets: Iterable[Any], where: str) -> Facts:
        """Mean and standard deviation."""
        import numpy as np

        count, mean, squares = 0, 0.0, 0.0
        for part in targets:
            values = np.asarray(part, np.float64)
            if not np.isfinite(values).all():
                raise DataError(f"{where}: expected finite numbers, got nan or infinity; fill them")
            for_all = count + len(values)
            if len(values):
                apart = values.mean() - mean
                squares += ((values - values.mean()) ** 2).sum()
                squares += apart**2 * count * len(values) / for_all
                mean += apart * len(values) / for_all
            count = for_all
        if not count or not squares:
            got = f"{count} examples, all of {mean:g}" if count else "none"
            raise DataError(
                f"{where}: expected training examples with different numbers, got {got}; add some"
            )
        return {"mean": float(mean), "scale": float(np.sqrt(squares / count))}

    def check(self, target: Any, facts: Facts, where: str) -> None:
        """Finite numbers."""
        import numpy as np

        if not np.isfinite(target).all():
            raise DataError(f"{where}: expected finite numbers, got nan or infinity; fill them")

    def target(self, facts: Facts) -> Target:
        """A number."""
        return Target("float32")

    def head(self, facts: Facts) -> Head:
        """A number."""
        return Head(1, "linear")

    def loss(self, facts: Facts, compiled: Any) -> Loss:
        """Squared error, or the compiled model's own loss, of the standardised number."""
        import keras
        from keras import ops

        found = keras.losses.get(compiled if compiled is not None else "mean_squared_error")
        by_example = found.call if isinstance(found, keras.losses.Loss) else found

        def losses(batch: Batch, outputs: Tensor) -> tuple[Tensor, None]:
            wanted = (ops.reshape(batch.target, (-1, 1)) - facts["mean"]) / facts["scale"]
            values = by_example(wanted, outputs)
            return ops.mean(ops.reshape(values, (ops.shape(outputs)[0], -1)), axis=1), None

        return losses

    def sums(self, batch: Batch, outputs: Tensor, facts: Facts) -> tuple[Tensor, ...]:
        """How far off the predictions are, in the target's unit."""
        from keras import ops

        found = ops.cast(outputs[:, 0], "float32") * facts["scale"] + facts["mean"]
        return (ops.sum(ops.abs(found - batch.target)),)

    def figures(self, totals: Mapping[str, float], examples: int) -> dict[str, float]:
        """The mean absolute error."""
        return {"mae": totals["absolute_error"] / examples}

    def decode(self, outputs: Array, facts: Facts) -> Array:
        """Numbers (n,), in the target's unit."""
        found: Array = outputs[:, 0].astype("float64") * facts["scale"] + facts["mean"]
        return found

    def sure(self, answers: Array, facts: Facts) -> Array:
        """As they are."""
        return answers.astype("float64")

    def scores(self, target: Any, answers: Array, facts: Facts) -> Array:
        """(n, 2): target, prediction."""
        import numpy as np

        return np.column_stack([target, answers])

    def measure(self, facts: Facts) -> "Measured":
        """R², errors, and those of who predicts the training split's mean."""
        return Measured(self, facts)

    def value(self, records: Array) -> float:
        """R² of (n, 2): target, prediction."""
        return _r2(records)

    def row(self, measures: Mapping[str, Any]) -> dict[str, Any]:
        """R² with its interval, and the errors."""
        return {
            "test_r2": measures["test_r2"],
            "r2_interval": measures["intervals"]["test_r2"],
            "test_mae": measures["test_mae"],
            "test_rmse": measures["test_rmse"],
        }

    def sentence(self, measures: Mapping[str, Any]) -> str:
        """R², and the error beside that of the mean."""
        return (
            f"R² {measures['test_r2']:.4g} on {measures['count']:,} test examples: off by "
            f"{measures['test_mae']:.4g} in the mean, predicting the training split's mean by "
            f"{measures['mean']['test_mae']:.4g}."
        )

    def facts(self, measures: Mapping[str, Any]) -> tuple[Fact, ...]:
        """R² and the mean absolute error with their intervals, and that of predicting the mean."""
        found = [
            Fact(
                title,
                (
                    Shown(name, measures[name], "four figures"),
                    Shown(f"intervals.{name}.0", measures["intervals"][name][0], "four figures"),
                    Shown(f"intervals.{name}.1", measures["intervals"][name][1], "four figures"),
                ),
            )
            for title, name in (("R²", "test_r2"), ("Mean absolute error", "test_mae"))
        ]
        mean = Shown("mean.test_mae", measures["mean"]["test_mae"], "four figures")
        return (*found, Fact("Predicting the mean: mean absolute error", (mean,)))

    def candidate(self, row: Mapping[str, Any]) -> tuple[Fact, ...]:
        """R² with its interval, and the errors."""
        low, high = row["r2_interval"]
        interval = (
            Shown("r2_interval.0", low, "four figures"),
            Shown("r2_interval.1", high, "four figures"),
        )
        return (
            Fact("R²", (Shown("test_r2", row["test_r2"], "four figures"),)),
            Fact("95 %", interval),
            Fact("Mean error", (Shown("test_mae", row["test_mae"], "four figures"),)),
        )

    def sections(self, measures: Mapping[str, Any]) -> tuple[Section, ...]:
        """What was predicted against what is."""
        points = measures["points"]
        ends = [min(min(pair) for pair in points), max(max(pair) for pair in points)]
        return (
            Chart(
                key="predicted",
                title="Predicted against true",
                description=f"{len(points):,} test examples; R² {measures['test_r2']:.4g}.",
                x_label="true; up: predicted; on the dashed line both are the same",
                series=(Series([(ends[0], ends[0]), (ends[1], ends[1])], "the same", guide=True),),
                marks=tuple(Mark(x, y, f"{x:.4g}, predicted {y:.4g}") for x, y in points),
            ),
        )


class Measured(Scored):
    """Targets and predictions so far."""

    def result(self) -> dict[str, Any]:
        """test_r2, test_mae, test_rmse, count, `intervals` of 95 % (2,000 resamples), `mean` (the
        same of predicting the training split's mean), `points`: some (target, prediction).

        Raises:
            DataError: no examples, or predictions that are no numbers.
        """
        import numpy as np

        records = self.records
        if not len(records) or not np.isfinite(records).all():
            raise DataError(
                "evaluation: expected a finite number for one test example or more, got "
                f"{'nan or infinity' if len(records) else 'none'}; check the model's output layer"
            )
        random, n = np.random.default_rng(0), len(records)
        drawn = [records[random.integers(0, n, n)] for _ in range(RESAMPLES)]
        plain = np.column_stack([records[:, 0], np.full(n, self._facts["mean"])])
        shown = records[np.unique(np.linspace(0, n - 1, DRAWN).round().astype(int))]
        return {
            "schema": SCHEMA,
            **_errors(records),
            "count": n,
            "intervals": {
                "test_r2": np.percentile([_r2(one) for one in drawn], [2.5, 97.5]).tolist(),
                "test_mae": np.percentile([_mae(one) for one in drawn], [2.5, 97.5]).tolist(),
            },
            "mean": _errors(plain),
            "points": shown.tolist(),
        }


def _errors(records: Array) -> dict[str, float]:
    squares = (records[:, 0] - records[:, 1]) ** 2
    return {
        "test_r2": _r2(records),
        "test_mae": _mae(records),
        "test_rmse": float(squares.mean() ** 0.5),
    }


def _mae(records: Array) -> float:
    return float(abs(records[:, 0] - records[:, 1]).mean())


def _r2(records: Array) -> float:
    """1 less the share of the targets' variance that is left; 0 where they have none."""
    true, found = records[:, 0], records[:, 1]
    around = float(((true - true.mean()) ** 2).sum())
    return 1 - float(((true - found) ** 2).sum()) / around if around else 0.0


TASK = Regression()
