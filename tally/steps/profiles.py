"""Step times of a training on this machine: out of the ledger, else measured in a few seconds."""

import functools
import hashlib
import os
import time
import uuid
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tally import clock, content
from tally.baselines import registry as baselines
from tally.costing.ledger import Ledger
from tally.costing.pace import Pace, pace
from tally.costing.plan import LOCAL
from tally.costing.profile import Profile
from tally.data.format import Dataset, digest
from tally.data.head import head
from tally.gang.messages import WorkerConfig
from tally.spec import Spec
from tally.steps.candidates import judged
from tally.steps.recorder import node_id
from tally.tasks import registry
from tally.userfile import is_user_file

PROFILE_SECONDS = 19.0  # for all of it; a quote takes 20 s at most
SIZE_SECONDS = 2.5
MOST_PROFILED = 4  # workers: more than that are not started for a profile
_CODE = ("gang", "learning", "models")  # rooms whose sources decide how long a step takes


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """A training that is to be measured: of lone workers with all cores, or of a gang's."""

    spec: Spec
    dataset: Dataset
    gang: bool

    @property
    def key(self) -> str:
        """Of all that decides the time of its steps, the number of workers apart."""
        spec, meta = self.spec, self.dataset.meta
        model = spec.model
        if is_user_file(model):
            model = hashlib.sha256(Path(model).read_bytes()).hexdigest()
        # another task's targets are as large as the dataset has them
        of_task = {} if meta.task == registry.USUAL else {"targets": self.dataset.fingerprint}
        return digest(
            {
                **of_task,
                "model": model,
                "kind": meta.kind,
                "shape": meta.input_shape,
                "dtype": str(meta.input_dtype),
                "classes": head(meta).units,
                "vocabulary": len(meta.vocabulary or ()),
                "batch_size": spec.batch_size,
                "virtual_shards": spec.virtual_shards if self.gang else 0,
                "deterministic": spec.deterministic,
                "collective": spec.collective if self.gang else "",
                "cores": os.cpu_count(),
                "node": node_id(),
                "code": _code(),
            }
        )

    def config(self) -> WorkerConfig:
        """What its workers do."""
        spec = self.spec
        return WorkerConfig(
            **spec.training(),
            dataset=str(self.dataset.folder),
            dataset_fingerprint=self.dataset.fingerprint,
            checkpoint_folder="",
            model_folder="",
            max_workers=max(2, spec.most_workers) if self.gang else 1,
            cores=1 if self.gang else 0,
        )


def is_gang(spec: Spec) -> bool:
    """Whether the run's workers are a gang's, with a core each, or one that has all cores."""
    return spec.most_workers > 1 or spec.deterministic


def wanted_sizes(spec: Spec, *, everything: bool) -> dict[bool, tuple[int, ...]]:
    """What to measure: numbers of workers, most first, of a gang (True) and of a lone worker.

    Args:
        spec: of the run.
        everything: one and two workers whatever the run may have; else what it may have.
    """
    most = min(spec.most_workers, MOST_PROFILED)
    if not is_gang(spec):
        return {False: (1,), True: (2,)} if everything else {False: (1,)}
    if spec.elastic or everything:
        return {True: tuple(dict.fromkeys((most, 2, 1) if most > 1 else (2, 1)))}
    return {True: (most,)}


def known(ledger: Ledger, training: Training) -> dict[int, Pace]:
    """The pace of each number of workers that was measured on this machine."""
    found: dict[int, list[Profile]] = defaultdict(list)
    for one in ledger.profiles([training.key]):
        if one.machine_type == LOCAL:
            found[one.workers].append(one)
    return {workers: pace(seen) for workers, seen in found.items()}


def measure(
    ledger: Ledger, trainings: Sequence[tuple[Training, tuple[int, ...]]], seconds: float
) -> int:
    """Measure what is asked for, keep it in the ledger; how many sizes are known now.

    Raises:
        RunError: a worker died.
        SpecError: the model cannot train on the dataset.
    """
    from tally.learning import profiling  # gRPC: only where something is measured

    wanted = [profiling.Wanted(config=one.config(), sizes=sizes) for one, sizes in trainings]
    began = time.monotonic()
    found = profiling.measure(wanted, seconds, SIZE_SECONDS)
    took = time.monotonic() - began
    rows = [
        Profile(
            profile_id=str(uuid.uuid4()),
            key=training.key,
            machine_type=LOCAL,
            workers=size.workers,
            made_at_microseconds=clock.now_microseconds(),
            source="profile",
            step_seconds=size.step_seconds,
            spread=size.spread,
            document={**asdict(size), "model": training.spec.model, "took_seconds": took},
        )
        for (training, _), sizes in zip(trainings, found, strict=True)
        for size in sizes
    ]
    ledger.put_profiles(rows)
    return len(rows)


def of_run(
    training: Training, *, run_id: str, pipeline: str, workers: int, seconds: float, examples: int
) -> Profile:
    """What a whole training of one size was: the best measurement for the next one's quote.

    Args:
        training: that is over.
        run_id, pipeline: whose.
        workers: that trained, from its first step to its last.
        seconds: in steps.
        examples: trained.
    """
    pace = seconds / examples * training.spec.batch_size
    beside = baselines.missing_seconds(training.spec.baseline, training.dataset)
    return Profile(
        profile_id=run_id,
        key=training.key,
        machine_type=LOCAL,
        workers=workers,
        made_at_microseconds=clock.now_microseconds(),
        source="run",
        run_id=run_id,
        pipeline=pipeline,
        step_seconds=pace,
        spread=0.0,
        document={
            "examples_per_worker": examples_per_worker(training.spec, workers),
            "steps": examples // training.spec.batch_size,
            "train_seconds": seconds,
            "model": training.spec.model,
            "fingerprint": training.dataset.fingerprint,
            "judged": judged(training.spec, beside),
        },
    )


def examples_per_worker(spec: Spec, workers: int) -> int:
    """Of the worker that has most, in a full step; counted in whole virtual shards."""
    shards = -(-spec.virtual_shards // workers)
    return -(-spec.batch_size * shards // spec.virtual_shards)


@functools.cache
def _code() -> str:
    """Of the sources that decide how long a step takes, and of the libraries."""
    root = Path(content.__file__).parent
    files = [path for room in _CODE for path in sorted((root / room).rglob("*.py"))]
    lock = content.PROJECT / content.LOCK
    named = [(str(path.relative_to(root)), path.read_bytes()) for path in files]
    return content.tag([*named, *([("lock", lock.read_bytes())] if lock.is_file() else [])])
