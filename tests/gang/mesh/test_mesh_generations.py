import os
import random
import socket
import time
from dataclasses import replace

import numpy as np
import pytest

from helpers.gang.mesh_peers import KEY, Waiter, each, join_all, joined, memberships
from helpers.ports import HeldPort
from tally.gang.collective import CollectiveError, Interrupted, PeerLost
from tally.gang.mesh import joining
from tally.gang.mesh.mesh import Mesh


@pytest.fixture
def pool():
    made = [Mesh(timeout_seconds=5) for _ in range(5)]
    yield made
    for mesh in made:
        mesh.close()


def ones_are_summed(ranks):
    results = each([lambda m=m: m.all_reduce(np.ones(100_000, np.int64)) for m in ranks])
    assert [int(result[7]) for result in results] == [len(ranks)] * len(ranks)


def test_generations_follow_each_other_with_other_ranks(pool):
    chance = random.Random(4)
    for generation in range(1, 41):
        ranks = chance.sample(pool, chance.randint(1, 5))
        join_all(ranks, generation)
        ones_are_summed(ranks)


def test_generations_that_were_never_used_do_not_disturb(pool):
    join_all(pool, 1)
    for generation in range(2, 12):
        views = memberships(generation, [mesh.address for mesh in pool])
        assert each([lambda m=m, v=v: m.join(v) for m, v in zip(pool, views, strict=True)]) == (
            [None] * 5
        )
    ones_are_summed(pool)


def test_one_that_comes_a_moment_later_is_waited_for(pool):
    ranks = pool[:3]
    views = memberships(1, [mesh.address for mesh in ranks])
    early = [Waiter(lambda m=m, v=v: m.join(v)) for m, v in zip(ranks[1:], views[1:], strict=True)]
    with socket.create_connection(("127.0.0.1", int(ranks[0].address.split(":")[1]))):
        ranks[0].join(views[0])
    assert [waiter.wait(60) for waiter in early] == [None, None]
    ones_are_summed(ranks)


def test_one_that_listens_later_is_waited_for(pool):
    held = HeldPort()
    views = memberships(1, [f"127.0.0.1:{held.number}", pool[0].address])
    early = Waiter(lambda: pool[0].join(views[1]))
    late = Mesh(port=held.number, timeout_seconds=5)
    late.join(views[0])
    assert early.wait(60) is None
    ones_are_summed([late, pool[0]])
    late.close()


def test_one_that_never_comes_is_named(pool):
    ranks = [Mesh(timeout_seconds=1) for _ in range(2)]
    views = memberships(1, [mesh.address for mesh in (*ranks, pool[0])])
    outcomes = each([lambda m=m, v=v: m.join(v) for m, v in zip(ranks, views[:2], strict=True)])
    for outcome in outcomes:
        assert isinstance(outcome, PeerLost)
        assert "rank 2" in str(outcome)
    # the same generation may be tried again
    assert each([lambda m=m, v=v: m.join(v) for m, v in zip((*ranks, pool[0]), views, strict=True)])
    ones_are_summed([*ranks, pool[0]])
    for mesh in ranks:
        mesh.close()


def test_a_generation_that_is_over_is_refused(pool):
    join_all(pool[:2], 7)
    with pytest.raises(CollectiveError, match="generation 6 after 7"):
        pool[0].join(memberships(6, [pool[0].address])[0])


def test_a_call_without_a_generation_is_refused(pool):
    with pytest.raises(PeerLost, match="no generation"):
        pool[0].all_reduce(np.ones(3, np.float32))


def test_members_of_different_generations_do_not_meet(pool):
    ranks = [Mesh(timeout_seconds=1) for _ in range(2)]
    addresses = [mesh.address for mesh in ranks]
    views = [memberships(1, addresses)[0], memberships(2, addresses)[1]]
    outcomes = each([lambda m=m, v=v: m.join(v) for m, v in zip(ranks, views, strict=True)])
    assert all(isinstance(outcome, PeerLost) for outcome in outcomes)


@pytest.mark.timing
@pytest.mark.parametrize("world", [2, 3])
def test_interrupt_ends_a_running_call_at_once_and_all_ranks_see_it(world):
    ranks = joined(world, timeout_seconds=20)
    vector = np.ones(5_000_000, np.float32)
    waiting = [Waiter(lambda m=m: m.all_reduce(vector)) for m in ranks[1:]]
    for _ in range(200):  # let them get into the call
        os.sched_yield()
    began = time.monotonic()
    ranks[1].interrupt()
    outcomes = [waiter.wait(60) for waiter in waiting]
    assert isinstance(outcomes[0], Interrupted)
    assert all(isinstance(outcome, PeerLost) for outcome in outcomes[1:])
    assert max(waiter.ended for waiter in waiting) - began < 0.2
    with pytest.raises(PeerLost, match=r"rank [12] is lost"):
        ranks[0].all_reduce(vector)
    with pytest.raises(Interrupted):  # until a newer generation is joined
        ranks[1].all_reduce(np.ones(10, np.float32))
    join_all(ranks, 2)
    ones_are_summed(ranks)
    for mesh in ranks:
        mesh.close()


def test_interrupt_before_a_call_is_kept_for_it(pool):
    join_all(pool[:1], 1)
    pool[0].interrupt()
    with pytest.raises(Interrupted):
        pool[0].all_reduce(np.ones(10, np.float32))
    join_all(pool[:1], 2)
    ones_are_summed(pool[:1])


def test_interrupt_ends_a_join(pool):
    views = memberships(1, [pool[0].address, pool[1].address])
    waiting = Waiter(lambda: pool[1].join(views[1]))
    began = time.monotonic()
    while waiting.outcome is None and time.monotonic() - began < 60:
        pool[1].interrupt()
        os.sched_yield()
    assert isinstance(waiting.wait(60), Interrupted)


def test_whoever_leaves_after_a_call_disturbs_no_slower_one():
    for _ in range(30):
        ranks = joined(3)

        def last_call(mesh):
            result = mesh.all_reduce(np.ones(300_000, np.int64))
            mesh.close()
            return int(result[0])

        assert each([lambda m=m: last_call(m) for m in ranks]) == [3, 3, 3]


def test_ranks_that_disagree_about_the_call_get_an_error_not_a_sum():
    for odd in (
        lambda m: m.all_reduce(np.ones(99, np.float32)),
        lambda m: m.all_reduce(np.ones(100, np.int32)),
        lambda m: m.broadcast(b"x" * 400, 1),
    ):
        ranks = joined(2, timeout_seconds=1)
        calls = [
            lambda m=ranks[0]: m.all_reduce(np.ones(100, np.float32)),
            lambda m=ranks[1], o=odd: o(m),
        ]
        assert all(isinstance(outcome, PeerLost) for outcome in each(calls)[:1])
        for mesh in ranks:
            mesh.close()


def test_it_listens_on_its_host_only():
    mesh = Mesh(host="127.0.0.2")
    port = int(mesh.address.split(":")[1])
    assert mesh.address == f"127.0.0.2:{port}"
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 1)
    mesh.close()


def strangers(address, hello, count):
    host, port = address.split(":")
    made = []
    for _ in range(count):
        connection = socket.create_connection((host, int(port)), 5)
        connection.sendall(hello)
        made.append(connection)
    return made


@pytest.mark.timing
@pytest.mark.parametrize("hello", [b"", b"GET / HTTP/1.1\r\n\r\n" * 9, bytes(5)], ids=str)
def test_strangers_do_not_keep_peers_from_joining(hello, pool):
    ranks = pool[:3]
    kept = strangers(ranks[0].address, hello, 300) + strangers(ranks[1].address, hello, 300)
    began = time.monotonic()
    join_all(ranks, 1)
    assert time.monotonic() - began < 2
    ones_are_summed(ranks)
    for connection in kept:
        connection.close()


def test_a_silent_stranger_is_dropped_after_its_time(pool, monkeypatch):
    monkeypatch.setattr(joining, "STRANGER_SECONDS", 0.1)
    views = memberships(1, [pool[0].address, "127.0.0.1:1"])
    waiting = Waiter(lambda: pool[0].join(views[0]))
    [stranger] = strangers(pool[0].address, b"", 1)
    stranger.settimeout(2)
    assert stranger.recv(1) == b""
    pool[0].interrupt()
    assert isinstance(waiting.wait(60), Interrupted)


def test_a_wrong_key_joins_nothing(pool):
    ranks = [Mesh(timeout_seconds=0.4) for _ in range(3)]
    views = memberships(1, [mesh.address for mesh in ranks])
    views[1] = replace(views[1], key=KEY[::-1])
    outcomes = each([lambda m=m, v=v: m.join(v) for m, v in zip(ranks, views, strict=True)])
    assert all(isinstance(outcome, PeerLost) for outcome in outcomes)
    assert "rank 0: a wrong proof of the generation's key" in str(outcomes[1])
    assert KEY.hex() not in "".join(map(str, outcomes))
    for mesh in ranks:
        mesh.close()


def test_an_impostor_beside_the_real_rank_changes_nothing(pool):
    ranks = pool[:2]
    views = memberships(1, [mesh.address for mesh in ranks])
    impostor = Mesh(timeout_seconds=0.5)
    false = Waiter(lambda: impostor.join(replace(views[1], key=bytes(32))))
    join_all(ranks, 1)
    ones_are_summed(ranks)
    assert isinstance(false.wait(60), PeerLost)
    impostor.close()
