"""What people want of a run that trains in pods, as they told the meter."""

import contextlib
import threading
from collections.abc import Callable

from tally.costing.quotes import RESIZE_ASKED
from tally.errors import TallyError
from tally.gang.coordinator.events import ResizeAsked
from tally.steps.metering import required_client

LOOK_SECONDS = 3.0


class Wishes:
    """Asks the meter again and again for the newest wish, in a thread of its own.

    The newest of the run holds in each life of it, so that what was wanted outlasts a conductor.
    """

    def __init__(self, run_id: str, asked: Callable[[ResizeAsked], None]) -> None:
        """Begins at once.

        Args:
            run_id: whose.
            asked: of each wish that is newer than all before.
        """
        self._run_id, self._asked = run_id, asked
        self._over, self._last = threading.Event(), 0
        threading.Thread(target=self._look, name="wishes", daemon=True).start()

    def stop(self) -> None:
        """Ask no more."""
        self._over.set()

    def _look(self) -> None:
        while not self._over.wait(LOOK_SECONDS):
            with contextlib.suppress(TallyError):  # asked again
                found = required_client().events(
                    self._run_id, kinds=(RESIZE_ASKED,), since_microseconds=self._last + 1
                )
                if found:
                    newest = found[-1]
                    self._last, facts = newest.at_microseconds, newest.facts
                    workers, machine_type = int(facts["workers"]), str(facts["machine_type"])
                    self._asked(ResizeAsked(workers, machine_type))
