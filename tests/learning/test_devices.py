"""Several accelerators inside one worker, on logical CPU devices: the weights of one device."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from test_elastic_gang import DROPOUT, TOLERANCE

pytestmark = pytest.mark.exact

# TensorFlow's devices are named before its first operation: each training has a process
TRAIN = """
import contextlib, json, sys
import numpy as np
from tally.learning.moment import Moment, StepPlan, rows
from tally.learning.tensorflow import environment
keras = environment.load_keras()
import tensorflow as tf
model, devices, ranks, out = json.loads(sys.argv[1])
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 3)
from tally.data.format import Meta
from tally.models import registry
from tally.learning.tensorflow import devices as several, backend
text = model == "lstm"
meta = (
    Meta("words", "tokens", (8,), "int32", 1, ("a", "b"), ("", "?", *"abcdefgh")) if text
    else Meta("shapes", "image", (12, 12, 1), "uint8", 1 / 255, ("a", "b", "c"))
)
random = np.random.default_rng(5)
# what can be learned: on labels without meaning Adam leads elsewhere by a rounding
shapes = random.integers(0, 200, (3, 12, 12, 1))
y = np.arange(64 * 30, dtype="i4") % len(meta.class_names)
noise = random.integers(0, 55, (len(y), 12, 12, 1))
x = (y[:, None] + 2 * random.integers(1, 4, (len(y), 8))).astype("i4") if text else (
    (shapes[y] + noise).astype("u1"))
keras.utils.set_random_seed(3)
over = several.strategy([f"CPU:{i}" for i in range(devices)]) if devices > 1 else None
with over.scope() if over else contextlib.nullcontext():
    built = registry.build(model, meta)
    plan = StepPlan(batch_size=32, learning_rate=0.001, seed=3, max_workers=2)
    training = backend.prepare(built, meta, plan)
    training.warm()
if ranks == 1:
    training.run(x, y, 0, 0)
else:
    for offset in range(0, len(x), 32):
        total = 0
        for rank in range(ranks):
            moment = Moment(0, offset, 32, rank, ranks)
            first, last = rows(plan, moment)
            here = slice(offset + first, offset + last)
            part = training.share(x[here], y[here], moment, np.zeros(2, "f4"))
            total = total + np.asarray(part)
        assert training.totals(total).examples == 32
        training.apply(total)
np.savez(out, *[v.numpy() for v in built.trainable_variables])
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) for n in ("cnn", "lstm")] + ["with dropout"]
)
def test_a_worker_with_several_devices_has_the_weights_of_one(name: str, tmp_path: Path) -> None:
    model = name
    if name == "with dropout":
        (tmp_path / "mine.py").write_text(DROPOUT)
        model = str(tmp_path / "mine.py")
    one, *others = (trained(model, *how, tmp_path) for how in ((1, 1), (2, 1), (3, 2)))
    for weights in others:
        apart = max(
            float(abs(a - b).max()) for a, b in zip(one.values(), weights.values(), strict=True)
        )
        assert apart / max(abs(v).max() for v in one.values()) <= TOLERANCE


def trained(model: str, devices: int, ranks: int, folder: Path) -> dict:
    import numpy as np

    out = folder / f"{devices} {ranks}.npz"
    given = json.dumps([model, devices, ranks, str(out)])
    ended = subprocess.run(
        [sys.executable, "-c", TRAIN, given], capture_output=True, text=True, timeout=240
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    return dict(np.load(out))
