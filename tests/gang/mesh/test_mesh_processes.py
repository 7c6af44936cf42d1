"""Ranks that are real processes: killed, stopped, and gone on without."""

import time

import pytest

from helpers.gang.mesh_peers import Op, Peer, memberships


@pytest.fixture
def peers():
    made: list[Peer] = []

    def make(world, timeout_seconds):
        made.extend(Peer(timeout_seconds) for _ in range(world))
        return list(made)

    yield make
    for peer in made:
        peer.close()


def start(peers, generation, ops):
    views = memberships(generation, [peer.address for peer in peers])
    for peer, view, own in zip(peers, views, ops, strict=True):
        peer.tell(view, own)
    for peer in peers:
        assert peer.next_outcome(60).error == ""


BROADCAST = Op("broadcast", 1, 5_000_000, root=0)
SUM = Op("all_reduce", 2, 50_000)


def test_survivors_notice_a_kill_at_once_and_go_on_without_it(peers):
    ranks = peers(4, 20)
    for generation in range(1, 6):
        # rank 3 never makes the call: the others wait for it, or for each other
        start(ranks, generation, [[SUM]] * 3 + [[]])
        assert ranks[3].outcomes(60) == []
        ranks[3].kill()
        for peer in ranks[:3]:
            outcome = peer.next_outcome(10)  # long before the call's own time-out
            assert outcome.lawful
            assert "rank" in outcome.error
            assert peer.outcomes(60) == []
        ranks[3].close()
        ranks[3:] = [peers(1, 20)[-1]]
    start(ranks[:3], 9, [[SUM]] * 3)
    for peer in ranks[:3]:
        assert peer.next_outcome(60).digest == SUM.expected(3)


@pytest.mark.timing
def test_a_kill_is_noticed_by_those_who_do_not_talk_with_it(peers):
    ranks = peers(4, 20)
    # in the chain 0, 1, 2, 3 only rank 1 talks with the root, which never sends
    start(ranks, 1, [[], [BROADCAST], [BROADCAST], [BROADCAST]])
    began = time.monotonic()
    ranks[0].kill()
    outcomes = [peer.next_outcome(60) for peer in ranks[1:]]
    assert time.monotonic() - began < 0.5
    assert all(outcome.lawful and outcome.error for outcome in outcomes)


@pytest.mark.timing
def test_a_stopped_rank_ends_the_call_at_its_time_out(peers):
    ranks = peers(3, 0.5)
    start(ranks, 1, [[SUM], [SUM], []])
    ranks[2].stop()
    outcomes = [peer.next_outcome(60) for peer in ranks[:2]]
    assert all(outcome.lawful and outcome.error for outcome in outcomes)
    assert all(0.2 < outcome.seconds < 2.5 for outcome in outcomes)
    assert all(
        "rank 2 (0 frames came)" in outcome.error or "closed" in outcome.error
        for outcome in outcomes
    )
    ranks[2].go_on()
    for peer in ranks:
        assert peer.outcomes(60) == []
    start(ranks, 2, [[SUM]] * 3)
    assert [peer.next_outcome(60).digest for peer in ranks] == [SUM.expected(3)] * 3


def test_a_rank_that_leaves_between_calls_is_noticed_in_the_next(peers):
    ranks = peers(2, 20)
    start(ranks, 1, [[SUM, SUM], [SUM]])
    assert ranks[0].next_outcome(60).digest == ranks[1].next_outcome(60).digest == SUM.expected(2)
    assert ranks[1].outcomes(60) == []
    ranks[1].kill()
    outcome = ranks[0].next_outcome(60)
    assert "rank 1 is lost" in outcome.error
    assert outcome.seconds < 20
