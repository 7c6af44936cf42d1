"""Work that is done again: what ran after the checkpoint that a training goes on from."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tally import clock
from tally.costing.ledger import open_ledger
from tally.costing.merge import split_lost
from tally.costing.usage import Usage
from tally.learning import checkpoint
from tally.steps.step import Step
from tally.storage import Location

if TYPE_CHECKING:
    from tally.meterclient import MeterClient


def count_lost_work(here: Step, checkpoints: Location, attempt_before: int) -> None:
    """Turn what earlier lives did after the newest checkpoint into `restart` in the ledger.

    With a meter also in what it was told of pods, once it has been told all of it.

    Args:
        here: the step whose workers' rows are meant; its recorder has written them.
        checkpoints: where they are kept.
        attempt_before: rows of attempts below this one.
    """
    ledger = open_ledger()
    saved = checkpoint.latest(checkpoints, lambda said: here.event("note", message=said))
    saved_at = saved.saved_at_microseconds if saved else None
    rows = ledger.usage([here.run_id])
    ledger.write_usage(split_lost(rows, here.run_id, here.name, saved_at, attempt_before))
    if here.outbox is None:
        return
    now = clock.now_microseconds()

    def told(client: "MeterClient") -> Sequence[Usage]:
        rows = client.usage(here.run_id)
        before = [r for r in rows if r.source == "conductor" and r.start_microseconds < now]
        return split_lost(before, here.run_id, here.name, saved_at, attempt_before)

    here.outbox.after_sending(told)
