"""Whole trainings under seeded schedules of faults: the right weights, in time, whatever happens.

Every schedule trains one to four warm processes with two to four faults: at messages between two
ranks (mesh_proxy), or at steps: kills, stops, cut and muted coordinators, resizes, strangers.
"""

import itertools
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

from helpers.gang.mesh_proxy import Fault, Recorded
from helpers.learning.made_training import EXAMPLES, TOKEN, config, pictures
from helpers.learning.warm_gang import Pool, WarmGang, garbage
from tally.errors import TallyError
from tally.gang.coordinator import coordinator_pb2 as pb
from tally.gang.coordinator import wire
from tally.gang.coordinator.client import Member
from tally.learning.checkpoint import read_tensors

pytestmark = pytest.mark.exact

MODEL = """
import keras
from keras import layers

def model():
    made = keras.Sequential([
        keras.Input((12, 12, 1)), layers.Flatten(), layers.Dense(8, activation="relu"),
        layers.Dropout(0.3), layers.Dense(3, activation="softmax"),
    ])
    made.compile(optimizer=keras.optimizers.Adam(0.001), loss="sparse_categorical_crossentropy")
    return made
"""
EPOCHS, BATCH = 6, 32
STEPS = EPOCHS * -(-EXAMPLES // BATCH)
SCHEDULES, FEW, GANGS = 56, 12, 2
HANGS_SECONDS = 90.0
AT_MESSAGES = (
    "cut", "reset", "half_open", "stall", "slow", "late", "duplicate", "drop", "swap", "replay",
    "flip", "garbage",
)  # fmt: skip
Strike = Callable[[WarmGang], None]


def kill(gang: WarmGang, chance: random.Random) -> None:
    if living := gang.victim(chance):
        living.warm.process.kill()


def stop(gang: WarmGang, chance: random.Random) -> None:
    if living := gang.victim(chance):
        gang.stop(living, chance.choice([0.05, 0.5, 2.5]))


def cut(gang: WarmGang, chance: random.Random) -> None:
    if living := gang.victim(chance):
        living.line.cut()


def mute(gang: WarmGang, chance: random.Random) -> None:
    if living := gang.victim(chance):
        living.line.mute()


def resize(gang: WarmGang, chance: random.Random) -> None:
    gang.resize(chance.randint(1, 4))


def strangers(gang: WarmGang, chance: random.Random) -> None:
    """Garbage at all ports, a wrong token, a name that is taken, a heartbeat of nobody."""
    address = gang.coordinator.address
    for one in [address, *(w.address for w in gang.wires[-3:])]:
        garbage(one, chance)
    for token in (TOKEN[::-1], TOKEN):
        stranger = Member(address, token, "0", "stranger")
        with pytest.raises(TallyError):
            stranger.join(timeout_seconds=0.3)
        stranger.close(0.1)
    with wire.open_channel(address, None) as channel:
        false = pb.HeartbeatRequest(member=bytes(16), phase=pb.RESTING, generation=1, step=10**6)
        reply = wire.call(channel, "Heartbeat")(false, metadata=wire.bearer(TOKEN), timeout=5)
        assert not reply.known
        with pytest.raises(grpc.RpcError):
            wire.call(channel, "Heartbeat")(false, metadata=wire.bearer(b"x"), timeout=5)


AT_STEPS = (kill, kill, stop, stop, cut, mute, resize, strangers)


class Schedule:
    """What one seed does."""

    def __init__(self, seed: int) -> None:
        chance = self.chance = random.Random(seed)
        self.seed, self.workers = seed, chance.choice([1, 2, 3, 3, 4])
        self.faults = [
            Fault(
                AT_MESSAGES[(seed + n) % len(AT_MESSAGES)], chance.choice(["up", "down"]),
                chance.choice([chance.randrange(6), chance.randrange(200)]),
                chance.random() < 0.5, seed,
            )
            for n in range(chance.randint(1, 2))
        ]  # fmt: skip
        at = sorted(chance.randrange(1, STEPS - 20) for _ in range(chance.randint(1, 2)))
        self.plan = [(step, AT_STEPS[(seed + n) % len(AT_STEPS)]) for n, step in enumerate(at)]

    def strikes(self) -> list[tuple[int, Strike]]:
        return [(step, lambda gang, what=what: what(gang, self.chance)) for step, what in self.plan]

    def __str__(self) -> str:
        plan = [(step, what.__name__) for step, what in self.plan]
        return f"seed {self.seed}: {self.workers} workers, {plan}, {self.faults}"


def weights(folder: Path) -> dict[str, bytes]:
    tensors, _ = read_tensors(folder / "model" / "weights.safetensors")
    return {name: value.tobytes() for name, value in tensors.items()}


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[Pool]:
    (tmp_path / "mine.py").write_text(MODEL)
    given = config(
        tmp_path, pictures(tmp_path / "data"), model=str(tmp_path / "mine.py"), epochs=EPOCHS,
        batch_size=BATCH, deterministic=True, virtual_shards=4, max_workers=4, cores=1,
        checkpoint_seconds=0.3, silent_seconds=1.0,
    )  # fmt: skip
    made = Pool(given, tmp_path / "log", 10)
    yield made
    made.close()


def trained(pool: Pool, folder: Path, schedule: Schedule | None, older: Recorded) -> WarmGang:
    """Train under a schedule, or undisturbed alone."""
    workers, faults, strikes = 2, [], []
    if schedule is not None:
        workers, faults, strikes = schedule.workers, schedule.faults, schedule.strikes()
    gang = WarmGang(pool, folder, workers, faults, older)
    try:
        end = gang.run(strikes, HANGS_SECONDS)
        assert end.examples_trained == EPOCHS * EXAMPLES
    finally:
        gang.close()
    return gang


def all_end_right(pool: Pool, folder: Path, seeds: range) -> int:
    """How many faults struck at messages."""
    calm = trained(pool, folder / "calm", None, {})
    older = max((w.recorded for w in calm.wires), key=lambda recorded: len(recorded["up"]))
    expected = weights(folder / "calm")
    left = iter(seeds)
    struck = itertools.count()

    def some(_: int) -> None:
        for seed in left:  # shared by the gangs
            schedule = Schedule(seed)
            try:
                gang = trained(pool, folder / str(seed), schedule, older)
                assert weights(folder / str(seed)) == expected, "other weights"
            except Exception as error:
                raise AssertionError(f"{schedule}: {type(error).__name__}: {error}") from error
            for _ in filter(lambda wire: wire.struck, gang.wires):
                next(struck)

    with ThreadPoolExecutor(GANGS) as threads:
        list(threads.map(some, range(GANGS)))
    return next(struck)


@pytest.mark.faults
def test_a_few_trainings_of_a_seed_drawn_anew_do(
    pool: Pool, tmp_path: Path, fresh_seed: int
) -> None:
    all_end_right(pool, tmp_path, range(fresh_seed, fresh_seed + FEW))


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_trainings_under_schedules_of_faults_end_with_the_same_weights(
    pool: Pool, tmp_path: Path
) -> None:
    assert all_end_right(pool, tmp_path, range(SCHEDULES)) >= SCHEDULES // 3
