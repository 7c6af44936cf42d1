"""A seeded schedule of faults: right sums or an error in time, whatever happens to one message.

Every case forms a generation of 2 to 4 processes with a proxy between two of them (`mesh_proxy`),
which does one wrong thing at one message, at its border or within it; 1 to 3 calls are made. Then
the ranks that are left form the next generation without a proxy, and its sum must be right.
"""

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from helpers.gang.mesh_peers import Op, Peer, memberships
from helpers.gang.mesh_proxy import Fault, Recorded, Wire, pester

pytestmark = pytest.mark.exact

TIMEOUT_SECONDS = 0.5
# at 1 MB/s, for what moves in one call; and for a machine that does other things too
MOST_SECONDS = TIMEOUT_SECONDS + 4.0
KINDS = (
    "cut", "reset", "half_open", "stall", "slow", "late", "duplicate", "drop", "swap", "replay",
    "flip", "flip", "garbage", "kill", "stop", "pester", "none",
)  # fmt: skip
GANGS = 3


class Case:
    """What one seed does."""

    def __init__(self, seed: int) -> None:
        chance = random.Random(seed)
        self.seed = seed
        self.kind = KINDS[seed % len(KINDS)]
        self.world = chance.choice([2, 2, 3, 4])
        self.low, self.high = sorted(chance.sample(range(self.world), 2))
        self.victim = chance.choice([self.low, self.high])
        kinds = ["all_reduce", "all_reduce", "fold", "broadcast"]
        self.ops = [
            Op(
                chance.choice(kinds),
                seed * 10 + number,
                chance.choice([1, 1000, 10_000, 40_000, 100_000]),
                chance.randrange(self.world),
            )
            for number in range(chance.randint(1, 3))
        ]
        self.fault = Fault(
            "call" if self.kind in ("kill", "stop") else self.kind,
            chance.choice(["up", "down"]),
            # half of the strikes at the handshake and the first frames
            chance.choice([chance.randrange(4), chance.randrange(2, 8)]),
            chance.random() < 0.5,
            seed,
        )
        self.struck = False

    def __str__(self) -> str:
        return f"seed {self.seed}: {self.kind} {self.fault}, {self.world} ranks, {self.ops}"


class Gang:
    """Four processes that live through many cases."""

    def __init__(self) -> None:
        self.generation = 0
        self.peers = [Peer(TIMEOUT_SECONDS) for _ in range(4)]
        self.older = self._record()

    def _record(self) -> Recorded:
        """Messages of a generation that went well."""
        wire = Wire(self.peers[0].address, None, lambda: None, {})
        views = self._views(2)
        view = replace(views[1], addresses=(wire.address, views[1].addresses[1]))
        ops = [Op("all_reduce", 1, 1000), Op("broadcast", 2, 50_000, 1), Op("fold", 3, 1000)]
        for peer, own in zip(self.peers, (views[0], view), strict=False):
            peer.tell(own, ops)
        for peer in self.peers[:2]:
            outcomes = peer.outcomes(10)
            assert outcomes is not None
            assert [outcome.digest for outcome in outcomes[1:]] == [op.expected(2) for op in ops]
        wire.close()
        return wire.recorded

    def _views(self, world):
        self.generation += 1
        return memberships(self.generation, [peer.address for peer in self.peers[:world]])

    def run(self, case: Case) -> None:
        ranks = self.peers[: case.world]
        views = self._views(case.world)
        wire = Wire(
            ranks[case.low].address,
            None if case.kind in ("none", "pester") else case.fault,
            ranks[case.victim].kill if case.kind == "kill" else ranks[case.victim].stop,
            self.older,
        )
        addresses = list(views[case.high].addresses)
        addresses[case.low] = wire.address
        views[case.high] = replace(views[case.high], addresses=tuple(addresses))
        quiet = threading.Event()
        stranger = threading.Thread(
            target=pester,
            args=(ranks[case.low].address, self.generation, case.world, self.older, quiet),
        )
        if case.kind == "pester":
            stranger.start()
        try:
            for peer, view in zip(ranks, views, strict=True):
                peer.tell(view, case.ops)
            self._judge(case, ranks, wire)
        finally:
            quiet.set()
            wire.close()
        if stranger.ident:
            stranger.join()
        self._go_on(case)

    def _judge(self, case, ranks, wire) -> None:
        seconds = MOST_SECONDS * (1 + len(case.ops))
        stopped = ranks[case.victim] if case.kind == "stop" else None
        outcomes = {}
        for rank, peer in enumerate(ranks):
            if peer is not stopped:
                outcomes[rank] = peer.outcomes(seconds)
        if stopped is not None:
            wire.calm()
            stopped.go_on()
            outcomes[case.victim] = stopped.outcomes(seconds)
        case.struck = wire.struck
        harmless = case.kind in ("none", "pester", "late") or not wire.struck
        for rank, got in outcomes.items():
            assert got is not None, f"rank {rank} hangs: {case}"
            ends = [outcome.error for outcome in got]
            for outcome, op in zip(got[1:], case.ops, strict=False):
                right = outcome.error or outcome.digest == op.expected(case.world)
                assert right, f"rank {rank}, a wrong result of {op}: {case}"
            for outcome in got:
                assert outcome.lawful, f"rank {rank}: {outcome.error}: {case}"
                slow = outcome.seconds > MOST_SECONDS and ranks[rank] is not stopped
                assert not slow, f"rank {rank} took {outcome.seconds:.1f} s: {case}"
            if harmless:
                assert len(got) == 1 + len(case.ops) and not any(ends), f"{ends}: {case}"

    def _go_on(self, case: Case) -> None:
        """Whoever is left is fit for the next generation; the dead are replaced."""
        ranks = [peer for peer in self.peers[: case.world] if not peer.gone]
        op = Op("all_reduce", case.seed, 20_000)
        addresses = [peer.address for peer in ranks]
        self.generation += 1
        for peer, view in zip(ranks, memberships(self.generation, addresses), strict=True):
            peer.tell(view, [op])
        for peer in ranks:
            outcomes = peer.outcomes(10)
            assert outcomes is not None, f"no next generation: {case}"
            got = [outcome.error or outcome.digest for outcome in outcomes]
            assert got == ["", op.expected(len(ranks))], f"next generation: {got}: {case}"
        for place, peer in enumerate(self.peers):
            if peer.gone:
                peer.close()
                self.peers[place] = Peer(TIMEOUT_SECONDS)

    def close(self) -> None:
        for peer in self.peers:
            peer.close()


def run_all(seeds) -> list[Case]:
    """All cases, some at a time: most of their time they wait for a time-out."""
    cases = [Case(seed) for seed in seeds]

    def some(first: int) -> None:
        gang = Gang()
        try:
            for case in cases[first::GANGS]:
                gang.run(case)
        finally:
            gang.close()

    with ThreadPoolExecutor(GANGS) as threads:
        list(threads.map(some, range(GANGS)))
    return cases


@pytest.mark.timing
def test_a_fault_at_any_message_ends_in_the_right_sum_or_an_error():
    cases = run_all(range(85))
    assert sum(case.struck for case in cases) >= 40


@pytest.mark.faults
def test_so_does_one_of_a_seed_drawn_anew(fresh_seed: int):
    cases = run_all(range(fresh_seed, fresh_seed + 170))
    assert sum(case.struck for case in cases) >= 50


@pytest.mark.slow
def test_five_hundred_faults_end_in_the_right_sum_or_an_error():
    cases = run_all(range(1000, 1850))
    assert sum(case.struck for case in cases) >= 500
