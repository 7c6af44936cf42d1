"""Following a run of this machine that another submit drives, to its end."""

import contextlib
import time

from rich.console import Console

from tally import clock, events, storage
from tally.costing.ledger import Ledger
from tally.costing.runs import RunRecord
from tally.machines.catalogue import machine
from tally.runs import listing
from tally.runs.local import INTERRUPTED, POLL_SECONDS, Ended
from tally.runs.progress import Price, Tail, display
from tally.runs.signals import interrupting

_LOOK_SECONDS = 1.0  # whether it has ended


def follow(ledger: Ledger, run: RunRecord, console: Console) -> Ended | None:
    """Draw a run's progress until it has ended.

    Args:
        ledger: that has it.
        run: which.
        console: where progress goes.

    Returns:
        How it ended; None where this process was interrupted before: the run goes on.
    """
    folder, price = storage.run_folder(run.id), machine("local")
    rate = price.price_usd_per_hour + price.software_usd_per_hour + run.value_of_hour_usd
    tail = Tail(folder, whole=True)
    until_now = float(ledger.bill(run.id).total_usd)
    shown = display(console, Price(rate, clock.now_microseconds(), until_now))
    looked = -_LOOK_SECONDS

    def draw() -> None:
        for event in tail.new():
            if event["attempt"] == run.attempt:
                shown.show(event)
        shown.tick()

    with interrupting(), contextlib.suppress(KeyboardInterrupt):
        try:
            while True:
                draw()
                if time.monotonic() - looked >= _LOOK_SECONDS:
                    looked, found = time.monotonic(), listing.find(ledger, run.id)
                    if found.state != "running" or found.attempt != run.attempt:
                        draw()
                        break
                time.sleep(POLL_SECONDS)
        finally:
            shown.close()
        return Ended(found, ledger.bill(run.id), _exit_code(found), ledger.quote(run.id))
    return None


def _exit_code(run: RunRecord) -> int:
    """What the submit that ran it exited with."""
    if run.state == "succeeded":
        return 0
    told = events.read(storage.run_folder(run.id))
    failed = [one for one in told if one["event"] == "failed" and one["attempt"] == run.attempt]
    return int(failed[0]["exit_code"]) if run.state == "failed" and failed else INTERRUPTED
