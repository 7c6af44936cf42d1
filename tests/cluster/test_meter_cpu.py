"""CPU of short pods against their own cgroups, which a test on the node's machine can read."""

import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from helpers.cluster.metering import make_pod, step_pod
from tally.costing.usage import Usage
from tally.kube.cluster import Cluster

Make = Callable[..., Any]

CGROUPS = Path("/sys/fs/cgroup")
PODS, AT_ONCE = 50, 5  # few enough that their load stays steady on two cores
SHORT, LONG = (10.0, 30.0), (30.0, 50.0)  # seconds of work
STEADY = """
until = time.time() + {seconds}
while time.time() < until:
    busy = time.process_time() + {cores} * 0.1
    while time.process_time() < busy: pass
    time.sleep(0.1 * (1 - {cores}))
"""


class Cgroups:
    """Reads pods' own counters again and again: after a pod's end they are gone."""

    def __init__(self) -> None:
        self.core_seconds: dict[str, float] = {}
        self._files: dict[str, Path] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def follow(self, uid: str) -> None:
        self.core_seconds[uid] = 0.0

    def stop(self) -> None:
        self._over.set()
        self._thread.join(10)

    def _read(self) -> None:
        while not self._over.wait(0.1):
            for uid in list(self.core_seconds):
                file = self._files.get(uid) or self._find(uid)
                if file is None:
                    continue
                self._files[uid] = file
                try:
                    text = file.read_text()
                except OSError:
                    continue  # it has ended
                used = int(text.split()[1]) / 1e6 if file.name == "cpu.stat" else int(text) / 1e9
                self.core_seconds[uid] = max(self.core_seconds[uid], used)

    def _find(self, uid: str) -> Path | None:
        for root in (CGROUPS / "cpuacct", CGROUPS):
            for name in (f"pod{uid}", f"*pod{uid.replace('-', '_')}.slice"):
                for folder in root.glob(f"kubepods*/**/{name}"):
                    for file in ("cpuacct.usage", "cpu.stat"):
                        if (folder / file).exists():
                            return folder / file
        return None


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_short_pods_are_billed_for_the_cpu_that_they_burn(
    cluster: Cluster, namespace: str, meter_of: Make
) -> None:
    chance, cgroups, meter = random.Random(7), Cgroups(), meter_of()
    meter.start()
    uids: dict[str, float] = {}
    left = [chance.uniform(*(SHORT if number % 2 else LONG)) for number in range(PODS)]
    closed: dict[str, list[Usage]] = {}
    deadline = time.monotonic() + 500
    while len(closed) < PODS and time.monotonic() < deadline:
        while left and len(uids) - len(closed) < AT_ONCE:
            seconds = left.pop()
            script = STEADY.format(seconds=seconds, cores=round(chance.uniform(0.05, 0.2), 2))
            pod = step_pod(f"burns-{len(uids)}", f"exec({script!r})")
            uid = make_pod(cluster, namespace, pod)
            uids[uid] = seconds
            cgroups.follow(uid)
        time.sleep(1)
        for uid in set(uids) - set(closed):
            own = meter.rows(uid)
            if own and all(row.end_microseconds for row in own) and own[-1].phase == "work":
                closed[uid] = own
    cgroups.stop()
    assert len(closed) == PODS
    if not any(cgroups.core_seconds.values()):
        pytest.skip("the node's cgroups are not this machine's to read")
    billed = {uid: sum(row.cpu_used_core_seconds for row in own) for uid, own in closed.items()}
    short = [uid for uid, seconds in uids.items() if seconds < SHORT[1]]
    used = cgroups.core_seconds
    off = {uid: billed[uid] / used[uid] - 1 for uid in uids}
    for uid in sorted(uids, key=uids.__getitem__):
        print(
            f"{uids[uid]:5.1f} s: used {used[uid]:6.2f}, billed {billed[uid]:6.2f}, {off[uid]:+.1%}"
        )
    print(f"short, in sum: {sum(billed[u] for u in short) / sum(used[u] for u in short) - 1:+.1%}")
    assert sum(billed[uid] for uid in short) == pytest.approx(
        sum(used[uid] for uid in short), rel=0.05
    )
    wrong = {uid: off[uid] for uid in uids if uid not in short and abs(off[uid]) > 0.05}
    assert not wrong
    meter.stop()
