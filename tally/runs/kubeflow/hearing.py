"""How many workers a run has and what its steps note, heard from the meter beside the watching.

A thread of its own, as Explaining. Without a meter there is nothing to say; that one refuses is
said once, and so is that one does not answer, and that it does again.
"""

import queue
import threading
from collections.abc import Mapping, Sequence

from tally.costing.quotes import RESIZE_ASKED, RunEvent
from tally.errors import RunError, SpecError
from tally.meterclient import MeterClient
from tally.meterhttp import MeterRefused
from tally.oneline import one_line

LOOK_SECONDS = 5.0
KINDS = ("generation", "note", RESIZE_ASKED)
_LONGEST, _LONGEST_STEP = 500, 63  # characters of a line, of a step's name in it
_MOST_STEPS = 20
GONE = "the meter does not answer; the run goes on, and what it misses meanwhile it makes up for"
BACK = "the meter answers again"
_OVERLAP_MICROSECONDS = 60 * 10**6  # pods' clocks differ, and they tell at their own pace


class Hearing:
    """What is heard of one run.

    Attributes:
        sizes: by step, how many workers it has, in words.
    """

    def __init__(self, run_id: str, namespace: str, *, is_new: bool) -> None:
        """Begins at once.

        Args:
            run_id: of the run.
            namespace: of its pods.
            is_new: of a run that was there before, what was noted before the first look is not
                said.
        """
        self.sizes: Mapping[str, str] = {}
        self._run_id, self._namespace, self._says = run_id, namespace, is_new
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._seen: dict[str, int] = {}
        self._newest = 0
        self._gone = False
        self._over = threading.Event()
        threading.Thread(target=self._run, daemon=True, name="meter").start()

    def new(self) -> list[str]:
        """What was said since this was asked last, a line each."""
        return [self._lines.get_nowait() for _ in range(self._lines.qsize())]

    def stop(self) -> None:
        """Hear no more."""
        self._over.set()

    def _run(self) -> None:
        try:
            meter = MeterClient.from_environment()
            while meter is not None and not self._over.wait(LOOK_SECONDS):
                self._look(meter)
        except SpecError as error:
            self._lines.put(f"the number of workers is not shown: {error}")

    def _look(self, meter: MeterClient) -> None:
        since = max(0, self._newest - _OVERLAP_MICROSECONDS)
        try:
            told = meter.events(
                self._run_id, self._namespace, kinds=KINDS, since_microseconds=since
            )
        except RunError:  # it is asked again
            self._is_gone(True)
        except MeterRefused as refused:
            if refused.status != 404:
                raise
            self._is_gone(False)  # it has not seen a pod of it yet
        else:
            self._is_gone(False)
            self._hear(told)

    def _is_gone(self, gone: bool) -> None:
        if gone != self._gone:
            self._gone = gone
            self._lines.put(GONE if gone else BACK)

    def _hear(self, told: Sequence[RunEvent]) -> None:
        for event in told:
            key = f"{event.at_microseconds} {event.kind} {event.step} {event.facts}"
            if key in self._seen:
                continue
            self._seen[key] = event.at_microseconds
            step = one_line(event.step, _LONGEST_STEP)
            if event.kind == "generation":
                if step in self.sizes or len(self.sizes) < _MOST_STEPS:
                    self.sizes = {**self.sizes, step: workers(event.facts.get("workers"))}
            elif self._says:
                self._lines.put(f"{step}: {words(event)}")
        self._says = True
        self._newest = max((self._newest, *(event.at_microseconds for event in told)))
        kept = self._newest - 2 * _OVERLAP_MICROSECONDS
        self._seen = {key: at for key, at in self._seen.items() if at >= kept}


def words(event: RunEvent) -> str:
    """What a note or a wish says, in one line. Pure."""
    facts = event.facts
    if event.kind != RESIZE_ASKED:
        return one_line(str(facts.get("message", "")), _LONGEST)
    kind = facts.get("machine_type")
    on = f" on {kind}" if kind else ""
    line = f"{facts.get('by')} asks for {workers(facts.get('workers'))}{on}"
    return one_line(line, _LONGEST)


def workers(found: object) -> str:
    """How many: "1 worker", "3 workers"; what is no number is "?". Pure.

    Args:
        found: their number, or a list of them.
    """
    count = len(found) if isinstance(found, list) else found if isinstance(found, int) else "?"
    return f"{count} worker{'s' * (count != 1)}"
