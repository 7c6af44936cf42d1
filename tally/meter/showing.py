"""/metrics, made in the background from what the ledger has: a scrape only hands it out."""

import asyncio
import time
from dataclasses import dataclass, field

from tally.errors import TallyError
from tally.meter import snapshot
from tally.meter.exposition import Exposition, MeterState
from tally.meter.metering import Meter

_SECONDS = 5.0
_SHARE = 50  # so much goes by for each second that it takes: it has 2 % of a core


@dataclass
class Showing:
    """The last text, and what it was made of."""

    meter: Meter
    _exposition: Exposition = field(default_factory=Exposition)
    _snapshot: snapshot.Snapshot | None = None
    _errors: int = 0
    _text: bytes = b""

    def text(self) -> bytes:
        """Of /metrics."""
        return self._text

    async def refresh(self) -> float:
        """Make it anew.

        Raises:
            RunError, SpecError: the ledger cannot be read; the last text stays, but for what it
                says of the meter itself.
        """
        ledger, began = self.meter.ledger, time.monotonic()
        try:
            if ledger is not None:
                now = self.meter.clock.now_microseconds()
                before = self._snapshot
                self._snapshot = await asyncio.to_thread(snapshot.take, ledger, now, before)
                await asyncio.to_thread(self._exposition.show, self._snapshot)
        except TallyError:
            self._errors += 1
            raise
        finally:
            unwritten = self.meter.unwritten
            state = MeterState(
                last_write_microseconds=unwritten.last_write_microseconds,
                ledger_errors=unwritten.errors + self._errors,
                unwritten_rows=len(unwritten),
            )
            self._text = self._exposition.text(state)
        return max(_SECONDS, _SHARE * (time.monotonic() - began))
