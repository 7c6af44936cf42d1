"""Generations in processes of the nursery: resized, killed, stopped, interrupted, cleaned up."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from multiworker_gang import Gang, gang

pytestmark = pytest.mark.slow  # nothing trains with this engine yet

SIZE = 50_000


@pytest.fixture(autouse=True)
def bodies(monkeypatch: pytest.MonkeyPatch) -> None:
    here, root = Path(__file__).parent, Path(__file__).parents[3]
    monkeypatch.setenv("PYTHONPATH", f"{here}:{here.parent}:{root}")


def child(made: Gang, index: int) -> psutil.Process:
    """The process that serves."""
    (nursery,) = [
        p for p in psutil.Process().children() if p.pid == made.workers[index].nursery._process.pid
    ]
    (found,) = nursery.children()
    return found


def pause(made: Gang, members: list[int]) -> list[dict]:
    for index in members:
        made.workers[index].nursery.pause(made.generation)
    assert [o.end for o in made.ended(members)] == ["rested"] * len(members)
    return [made.workers[index].until("end") for index in members]


@pytest.mark.parametrize("mode", ["reused", "forked", "cold"])
def test_a_resized_gang_goes_on_where_it_stood(mode: str, tmp_path: Path) -> None:
    with gang(tmp_path) as made:
        made.add(3, reuse=mode == "reused", cold=mode == "cold")
        done, seen = 0, set()
        for members in ([0, 1], [0, 1, 2], [2]):
            made.start(members, "steps", size=SIZE)
            for index in members:
                made.workers[index].until("step", done + 20)
            seen |= {child(made, index).pid for index in members}
            ends = pause(made, members)
            assert len({end["done"] for end in ends}) == 1, "all rest after the same step"
            assert all(end["end"] == "paused" and end["even"] for end in ends)
            assert ends[0]["done"] >= done + 20
            done = ends[0]["done"]
            state, tensors = made.workers[members[0]].nursery.load()
            assert state["done"] == done
            assert (tensors["weights"] == done).all()
        assert len(seen) == (3 if mode == "reused" else 6)


@pytest.mark.parametrize(
    ("how", "victim", "seconds"),
    [(signal.SIGKILL, 1, 5.5), (signal.SIGKILL, 0, 5.5), (signal.SIGSTOP, 2, 5.5)],
    ids=["killed", "rank 0 killed", "stopped"],
)
def test_survivors_of_a_lost_worker_rest_in_time_and_go_on(
    how: int, victim: int, seconds: float, tmp_path: Path
) -> None:
    members = [0, 1, 2]
    survivors = [i for i in members if i != victim]
    with gang(tmp_path) as made:
        made.add(3, config={"timeout_seconds": 4.0})
        made.start(members, "steps", size=SIZE)
        for index in members:
            made.workers[index].until("step", 20)
        began = time.monotonic()
        victim_child = child(made, victim)
        victim_child.send_signal(how)
        outcomes = made.ended(survivors, 10)
        assert time.monotonic() - began < seconds
        assert {o.end for o in outcomes} == {"rested"}
        ends = [made.workers[i].until("end") for i in survivors]
        assert all(end["end"] == "PeerLost" and end["even"] for end in ends)
        assert max(e["done"] for e in ends) - min(e["done"] for e in ends) <= 1
        if how == signal.SIGSTOP:  # it wakes up in a generation that nobody else is in
            made.start(survivors, "steps", size=SIZE)
            victim_child.send_signal(signal.SIGCONT)
        (lost,) = made.ended([victim], 10)
        assert lost.end == ("rested" if how == signal.SIGSTOP else "died")
        if how == signal.SIGKILL:
            assert lost.exit_code == -signal.SIGKILL
            made.start(members, "steps", size=SIZE)
            survivors = members
        done = max(e["done"] for e in ends)
        for index in survivors:
            made.workers[index].until("step", done + 20)
        assert all(end["even"] for end in pause(made, survivors))


def test_an_interrupt_is_heard_in_a_collective_and_by_a_body_that_hears_nothing(
    tmp_path: Path,
) -> None:
    with gang(tmp_path) as made:
        made.add(2, config={"timeout_seconds": 3.0})
        made.start([0, 1], "steps", size=SIZE)
        made.workers[0].until("step", 10)
        child(made, 1).send_signal(signal.SIGSTOP)  # so that rank 0 waits for it in a sum
        began = time.monotonic()
        made.workers[0].nursery.interrupt(made.generation)
        (outcome,) = made.ended([0])
        assert (outcome.end, time.monotonic() - began < 1.0) == ("rested", True)
        assert made.workers[0].until("end")["end"] == "Interrupted"
        made.workers[1].nursery.interrupt(
            made.generation
        )  # stopped: it cannot hear, so it is killed
        (outcome,) = made.ended([1], 10)
        assert (outcome.end, outcome.exit_code) == ("died", -signal.SIGKILL)
        made.start([0], "stuck")
        made.workers[0].until("text")
        made.workers[0].nursery.interrupt(made.generation)
        (outcome,) = made.ended([0], 10)
        assert (outcome.end, outcome.exit_code) == ("died", -signal.SIGKILL)


def test_a_worker_that_comes_late_or_never_is_lost_within_the_time_out(tmp_path: Path) -> None:
    with gang(tmp_path) as made:
        made.add(3, config={"timeout_seconds": 3.0})
        made.workers[2].nursery.close()
        made.start([0, 1, 2], "steps", size=10)
        assert {o.end for o in made.ended([0, 1], 30)} == {"rested"}
        assert {made.workers[i].until("end")["end"] for i in (0, 1)} == {"PeerLost"}


def test_a_failing_body_says_why_and_the_next_generation_has_a_new_child(tmp_path: Path) -> None:
    with gang(tmp_path) as made:
        made.add(1)
        made.start([0], "failing")
        (outcome,) = made.ended([0])
        assert (outcome.end, outcome.exit_code) == ("died", 1)
        assert outcome.message == "ValueError: a body's own mistake"
        made.start([0], "steps", size=10)
        assert pause(made, [0])[0]["done"] == 1, "a pause that comes first is not lost"


def test_a_prepared_child_serves_the_first_generation(tmp_path: Path) -> None:
    with gang(tmp_path) as made:
        made.add(1)
        nursery = made.workers[0].nursery
        nursery.prepare("multiworker_bodies:steps", {"size": 10})
        nursery.wait_ready(60)
        prepared = child(made, 0).pid
        made.start([0], "steps", size=10)
        made.workers[0].until("step", 1)
        assert child(made, 0).pid == prepared
        pause(made, [0])


def test_the_nursery_has_one_thread_and_refuses_to_fork_with_more(tmp_path: Path) -> None:
    (tmp_path / "starts_a_thread.py").write_text(
        "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n"
    )
    with gang(tmp_path) as made:
        made.add(1)
        made.start([0], "steps", size=10)
        made.workers[0].until("step", 1)
        pid = made.workers[0].nursery._process.pid
        assert psutil.Process(pid).num_threads() == 1
        pause(made, [0])
        os.environ["PYTHONPATH"] += f":{tmp_path}"
        made.add(1, config={"preload": ["starts_a_thread"]})
        made.start([1], "steps", size=10)
        (outcome,) = made.ended([1], 30)
        assert outcome.end == "died"
        assert "expected one thread before a fork, got 2" in made.workers[1].log.read_text()


AGENT = """
import json, os, sys, threading
from tally.training.collective import Membership
from tally.training.multiworker.generations import Nursery
nursery = Nursery({}, log=sys.stderr.buffer)
alone = Membership(1, 0, (nursery.address,), os.urandom(32))
def told(data):
    print(data.decode(), nursery._process.pid, nursery._pid, flush=True)
nursery.run(alone, "multiworker_bodies:stuck", {}, told)
"""


@pytest.mark.parametrize("victim", ["agent", "nursery", "child"])
def test_nothing_is_left_of_a_killed_agent_nursery_or_child(victim: str, tmp_path: Path) -> None:
    before = set(Path("/dev/shm").iterdir())
    with open(tmp_path / "log", "wb") as log:
        agent = subprocess.Popen(
            [sys.executable, "-c", AGENT], stdout=subprocess.PIPE, stderr=log, text=True
        )
    assert agent.stdout is not None
    _, nursery, child = agent.stdout.readline().split()
    processes = {
        name: psutil.Process(int(p)) for name, p in (("nursery", nursery), ("child", child))
    }
    processes["agent"] = psutil.Process(agent.pid)
    processes[victim].kill()
    _, alive = psutil.wait_procs(processes.values(), timeout=10)
    agent.wait(10)
    assert not alive
    assert set(Path("/dev/shm").iterdir()) == before


def test_a_state_half_written_leaves_the_one_before(tmp_path: Path) -> None:
    import numpy as np

    from tally.training.multiworker.shared import SharedState

    state = SharedState()
    assert state.load() is None
    first = {"a": np.arange(7.0), "scalar": np.float32(3), "none": np.zeros((0, 4))}
    state.commit({"step": 1}, first)
    state.commit({"step": 2}, {"a": np.arange(9.0)})
    found = state.load()
    assert found is not None
    assert (found[0], found[1]["a"].tolist()) == ({"step": 2}, list(range(9)))
    length = os.fstat(state.descriptors[1]).st_size  # the second went to the even slot
    for at in range(0, length, 8):  # a kill leaves some bytes new, others old
        kept = os.pread(state.descriptors[1], 1, at)
        os.pwrite(state.descriptors[1], bytes([kept[0] ^ 255]), at)
        torn = state.load()
        assert torn is not None
        assert torn[0] == {"step": 1}, at
        assert [torn[1][k].shape for k in first] == [(7,), (), (0, 4)]
        os.pwrite(state.descriptors[1], kept, at)
    assert state.load()[0] == {"step": 2}
    state.close()
