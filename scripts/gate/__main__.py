"""Runs stages one after the other and says at the end what became of them.

    PYTHONPATH=scripts python -m gate [test|gate|full|STAGE ...]

A stage that fails does not keep the next from running. A test that failed is run once more, alone,
when all others have ended (verdict.py: which, and what that changes). What is left of the gate's
forty minutes goes to a part of the rest of the tests, which turns with every commit.
"""

import datetime
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from gate import rest
from gate.gate import Gate
from gate.running import adopt, end, left
from gate.screen import screen
from gate.stages import PLANS, STAGES
from gate.user import myself, ordinary
from gate.verdict import Result, complaints

REST_UNTIL_SECONDS = 40 * 60.0
REST_LEAST_SECONDS = 60.0
NOTHING_LEFT = 5  # of pytest: all of a file was in the smoke
PROJECT = Path(__file__).resolve().parents[2]


def main(words: Sequence[str]) -> int:
    """The gate's exit status: 0 green, 1 red, 2 for a stage that there is not."""
    names = [name for word in words for name in PLANS.get(word, (word,))]
    if unknown := [name for name in names if name not in STAGES]:
        known = ", ".join([*PLANS, *STAGES])
        print(f"gate: expected stages of {known}; got {', '.join(unknown)}", file=sys.stderr)
        return 2
    os.environ.pop("PYTHONPATH", None)  # this program's own
    adopt()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(143))
    folder = Path(tempfile.mkdtemp(prefix="tally-gate-"))
    folder.chmod(0o777)  # the ordinary user's tests write there too
    is_whole = "gate" in words or "full" in words
    seed = int(os.environ.get("TALLY_SEED") or secrets.randbits(31))
    gate = Gate(PROJECT, ordinary(PROJECT) if is_whole else myself(PROJECT), folder, seed)
    was_up = is_up()
    results: list[Result] = []
    try:
        for name in names:
            results.append(gate.run(STAGES[name]))
        gate.again(results)
        if "gate" in words:
            turn(gate, results)
    finally:
        if not was_up and is_up():
            subprocess.run(["tests/cluster/down.sh"], cwd=PROJECT, check=False, timeout=120)
        end(left())
    today = datetime.datetime.now(datetime.UTC).date()
    why = complaints(results, today, is_full="full" in words)
    minutes = f"{gate.seconds / 60:.1f} minutes"
    notes = [f"commit {commit()}", f"TALLY_SEED={seed}, {minutes}"]
    print(screen(results, why, notes), flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    return 1 if why else 0


def turn(gate: Gate, results: list[Result]) -> None:
    """The parts of the rest whose turn it is, until the gate's minutes are over."""
    for stage in rest.parts(PROJECT):
        seconds = REST_UNTIL_SECONDS - gate.seconds
        if seconds < REST_LEAST_SECONDS:
            break
        result = gate.run(stage, seconds)
        if result.code == NOTHING_LEFT:
            continue
        result.advisory = True
        results.append(result)


def commit() -> str:
    """What is being tried, in words."""
    log = ["git", "log", "-1", "--format=%h %s"]
    told = subprocess.run(log, cwd=PROJECT, capture_output=True, text=True, check=False).stdout
    status = ["git", "status", "--porcelain"]
    changed = subprocess.run(
        status, cwd=PROJECT, capture_output=True, text=True, check=False
    ).stdout
    return told.strip() + (" (with changes that are not committed)" if changed else "")


def is_up() -> bool:
    """Whether a cluster answers on this machine."""
    ready = ["curl", "-sk", "-m", "2", "https://127.0.0.1:6443/readyz"]
    try:
        return subprocess.run(ready, capture_output=True, text=True, check=False).stdout == "ok"
    except FileNotFoundError:
        return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or ["test"]))
