"""Which framework computes a training, and what its gang sums with: chosen here, nowhere else.

What is imported here at once is light: a worker has to hear of SIGTERM before it loads a framework.
"""

import contextlib
import time
from typing import Any

from tally import usercode
from tally.gang.collective import Collective
from tally.gang.messages import WorkerConfig
from tally.learning.backend import Backend
from tally.learning.tensorflow import environment
from tally.models import registry


def collective(config: WorkerConfig, host: str) -> Collective:
    """What the gang's workers sum with; TensorFlow's own has to be there before any operation.

    Args:
        config: the worker's.
        host: the address that it listens at.
    """
    if config.collective == "multiworker":
        environment.load_keras()
        environment.use_cores(config.cores)
        from tally.learning.tensorflow.multiworker.engine import MultiWorker

        return MultiWorker(host, config.silent_seconds)
    from tally.gang.mesh.mesh import Mesh

    return Mesh(host=host, timeout_seconds=config.silent_seconds)


def prepared(config: WorkerConfig, dataset: Any) -> tuple[Backend, dict[str, float]]:
    """The training with every shape compiled that it can meet, and its startup seconds.

    It is spread over the accelerators of this worker where there are several.

    Raises:
        SpecError: the user's model fails.
    """
    startup, began = dict[str, float](), time.monotonic()
    keras = environment.load_keras()
    environment.use_cores(config.cores)
    startup["import"], began = time.monotonic() - began, time.monotonic()
    keras.utils.set_random_seed(config.seed)

    from tally.learning.tensorflow import devices

    over = devices.strategy()
    with over.scope() if over else contextlib.nullcontext():
        model = registry.build(config.model, dataset.meta)
        startup["build"], began = time.monotonic() - began, time.monotonic()
        training = _traced(config, dataset, model)
    startup["trace"] = time.monotonic() - began
    return training, startup


def _traced(config: WorkerConfig, dataset: Any, model: Any) -> Backend:
    from tally.learning import batches
    from tally.learning.moment import StepPlan
    from tally.learning.tensorflow import backend

    plan = StepPlan(
        batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        seed=config.seed,
        virtual_shards=config.virtual_shards,
        deterministic=config.deterministic,
        max_workers=config.max_workers,
        batches=batches.reachable(config.batch_size, config.largest_batch)
        if config.largest_batch
        else (),
    )
    wanted = f"a model that trains on dataset {dataset.meta.name}"
    with usercode.expected(config.model, wanted, "check its layers, loss and optimizer"):
        training = backend.prepare(model, dataset.meta, plan)
        if config.max_workers > 1 or plan.batches:
            training.warm()
    return training
