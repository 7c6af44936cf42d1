"""Targets of several arrays, padded ones with weights too: the same weights alone and in a gang."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.learning.gang_steps import apart, values
from helpers.learning.made_training import config
from helpers.tasks.made import of_boxes, of_heat, pictures, register, some_boxes, some_heat
from tally.data.format import Dataset, open_dataset
from tally.gang.messages import EpochEnd
from tally.learning import elastic, order
from tally.learning.checkpoint import Position
from tally.learning.moment import Moment, StepPlan, rows
from tally.learning.saving import Saver
from tally.learning.tensorflow import backend, environment
from tally.learning.tensorflow.backend import TensorFlowBackend
from tally.tasks import registry

pytestmark = pytest.mark.exact

keras = environment.load_keras()
EXAMPLES, BATCH, SEED, STEPS = 90, 16, 5, 20  # the last step of an epoch has 10 examples


@pytest.fixture(scope="module", autouse=True)
def registered() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        register(patch)
        yield


@pytest.fixture(scope="module", params=["boxes", "heat"])
def dataset(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("set") / request.param
    if request.param == "boxes":  # one in six has none: examples weigh 0 … 5
        return open_dataset(of_boxes(folder, pictures(EXAMPLES), some_boxes(EXAMPLES)))
    return open_dataset(of_heat(folder, pictures(EXAMPLES), some_heat(EXAMPLES)))


def prepared(dataset: Dataset, **changes: Any) -> TensorFlowBackend:
    keras.backend.clear_session()
    keras.utils.set_random_seed(0)
    units = registry.named(dataset.meta.task).head(dataset.meta.facts).units
    layers = [keras.layers.Flatten(), keras.layers.Dense(16, "relu"), keras.layers.Dense(units)]
    model = keras.Sequential([keras.Input((8, 8, 1)), *layers])
    made = {"batch_size": BATCH, "learning_rate": 0.001, "seed": SEED, "max_workers": 3}
    return backend.prepare(model, dataset.meta, StepPlan(**{**made, **changes}))


def alone(training: TensorFlowBackend, dataset: Dataset, steps: int) -> list[float]:
    """By `run`, several steps in a call: loss by its weight, of each."""
    found: list[Any] = []
    epoch = 0
    while len(found) < steps:
        here = order.epoch_order(SEED, epoch, EXAMPLES)[: (steps - len(found)) * BATCH]
        found += training.run(*dataset.splits["train"].gather(here), epoch, 0).tolist()
        epoch += 1
    return [loss / weight for loss, weight, *_ in found]


def together(training: TensorFlowBackend, dataset: Dataset, size: int, steps: int) -> list[float]:
    """Each rank's part in turn, summed by hand."""
    losses, train, epoch, offset = [], dataset.splits["train"], 0, 0
    for _ in range(steps):
        indices, examples = order.epoch_order(SEED, epoch, EXAMPLES), min(BATCH, EXAMPLES - offset)
        found: list[Any] = []
        for rank in range(size):
            moment = Moment(epoch, offset, examples, rank, size)
            first, last = rows(training.plan, moment)
            x, y = train.gather(indices[offset + first : offset + last])
            part = np.asarray(training.share(x, y, moment, np.zeros(2, np.float32)))
            found += list(part) if training.plan.deterministic else [part]
        vector = found[0]
        for one in found[1:]:
            vector = vector + one
        total = training.totals(vector)
        assert total.examples == examples
        losses.append(total.loss_sum / total.weight)
        training.apply(vector)
        epoch, offset = (epoch, offset + BATCH) if offset + BATCH < EXAMPLES else (epoch + 1, 0)
    return losses


def test_a_gang_ends_where_a_lone_worker_does(dataset: Dataset) -> None:
    lone = prepared(dataset)
    losses = alone(lone, dataset, STEPS)
    assert len(losses) == STEPS and losses[-1] < losses[0]
    for size in (2, 3):
        gang = prepared(dataset)
        np.testing.assert_allclose(together(gang, dataset, size, STEPS), losses, rtol=1e-4)
        assert apart(gang, lone) <= 3e-4


def test_the_loss_is_a_mean_by_weight(dataset: Dataset) -> None:
    training = prepared(dataset)
    here = np.arange(BATCH)
    x, y = dataset.splits["train"].gather(here)
    answers = training.model(x / np.float32(255)).numpy()
    target = (y["boxes"] if "boxes" in y else y["heat"]) / dataset.meta.learnt["scale"]
    mask = (y["boxes_mask"] if "boxes" in y else y["known"]).astype(bool)
    answers = np.broadcast_to(answers.reshape(BATCH, 1, -1) if "boxes" in y else
                              answers.reshape(BATCH, 4, 4, 2), target.shape)  # fmt: skip
    wanted = np.square(target - answers)[mask].sum() / mask.sum()
    (loss, weight, counted), *_ = training.run(x, y, 0, 0)
    assert weight == counted == mask.sum()
    np.testing.assert_allclose(loss / weight, wanted, rtol=1e-5)


def test_in_deterministic_mode_no_size_changes_a_bit(dataset: Dataset) -> None:
    results = []
    for size in (1, 2, 3):
        training = prepared(dataset, deterministic=True)
        losses = together(training, dataset, size, STEPS)
        results.append((losses, {k: v.tobytes() for k, v in values(training).items()}))
    assert all(result == results[0] for result in results[1:])


def test_warming_up_brings_every_shape_and_changes_no_variable(dataset: Dataset) -> None:
    training = prepared(dataset)
    before = {name: v.tobytes() for name, v in values(training).items() if "seed" not in name}
    training.warm()
    known = set(training.traced)
    assert {n: v.tobytes() for n, v in values(training).items() if "seed" not in n} == before
    alone(training, dataset, 2)
    together(training, dataset, 3, 6)
    assert set(training.traced) == known


def test_an_epoch_of_a_worker_tells_the_tasks_figures(dataset: Dataset, tmp_path: Path) -> None:
    told: list[Any] = []
    wanted = config(tmp_path, dataset.folder, epochs=2, batch_size=BATCH, seed=SEED)
    training, standing = prepared(dataset), elastic.Standing(Position())

    class Heard:
        save = Saver(wanted, training, {}, lambda _: None).save
        tell = staticmethod(told.append)

        def paused(self) -> bool:
            return False

        stopping = paused

        def observe(self, _: Any) -> None: ...

    train = dataset.splits["train"]
    elastic.train(wanted, training, train, standing, elastic.Place(), None, Heard())
    task, y = registry.named(dataset.meta.task), train.targets()
    counted = float((y["boxes_mask"] if "boxes" in y else y["known"]).sum())
    expected = task.figures({task.totals[0]: counted}, EXAMPLES)
    ends = [message for message in told if isinstance(message, EpochEnd)]
    assert [end.figures for end in ends] == [expected, expected]
    assert ends[1].loss < ends[0].loss
