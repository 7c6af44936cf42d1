"""What doctor says of one thing, and looking at many at once, each within a few seconds."""

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from tally.errors import TallyError

SECONDS = 8.0  # of a check; its requests have less each, so that their own words are heard


@dataclass(frozen=True)
class Finding:
    """One thing looked at."""

    what: str
    good: bool
    found: str
    remedy: str
    needed: bool = True

    def line(self) -> str:
        """`ok      python 3.11.7`, or `missing chromium: …; remedy`."""
        if self.good:
            return f"ok       {self.what}: {self.found}"
        return (
            f"{'missing' if self.needed else 'optional'}  {self.what}: {self.found}; {self.remedy}"
        )


def of_error(what: str, error: TallyError, *, needed: bool = True) -> Finding:
    """The finding that an error's sentence is: its part after the last semicolon is the remedy."""
    found, semicolon, remedy = str(error).rpartition("; ")
    return Finding(what, False, found if semicolon else remedy, remedy, needed)


@dataclass(frozen=True)
class Check:
    """Something to look at that may fail or hang.

    Attributes:
        what: for the line where it does.
        look: gives what it finds, one after the other; a TallyError of it is a finding as well.
        needed: whether a failure of it is one of doctor's.
    """

    what: str
    look: Callable[[], Iterable[Finding]]
    needed: bool = True


def looked(checks: Sequence[Check], seconds: float = SECONDS) -> Iterator[Finding]:
    """What all checks find, in their order.

    All look at the same time, and none waits for another: one that fails or hangs has a line that
    says so, after what it had found until then.

    Args:
        checks: each in a thread of its own, which is left to itself when the time is over.
        seconds: for all of them.
    """
    deadline = time.monotonic() + seconds
    for check, found in [(check, _begun(check)) for check in checks]:
        while True:
            try:
                finding = found.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                yield Finding(
                    check.what, False, f"no end within {seconds:g} s",
                    "look at the network and at what should answer, then run doctor again",
                    check.needed,
                )  # fmt: skip
                break
            if finding is None:
                break
            yield finding


def _begun(check: Check) -> "queue.SimpleQueue[Finding | None]":
    found: queue.SimpleQueue[Finding | None] = queue.SimpleQueue()

    def run() -> None:
        try:
            for finding in check.look():
                found.put(finding)
        except TallyError as error:
            found.put(of_error(check.what, error, needed=check.needed))
        except Exception as error:  # its text may hold anything, a secret too
            kind = f"{type(error).__module__}.{type(error).__name__}"
            found.put(Finding(check.what, False, f"a {kind}", "report it as a bug", check.needed))
        finally:
            found.put(None)

    threading.Thread(target=run, name=f"doctor: {check.what}", daemon=True).start()
    return found
