"""Where runs run: what every command asks of them, on this machine and on a cluster alike."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tally.costing.bill import Bill
from tally.costing.days import Charged
from tally.costing.runs import RunRecord
from tally.runs.consent import Consent


@dataclass(frozen=True)
class Listing:
    """Runs, newest first: as JSON, and as cells of a table."""

    document: Mapping[str, Any]
    cells: list[list[str]]


class Engine(Protocol):
    """All of one place's runs. A run is named by its id, or as much of it as is unique.

    Every method may raise SpecError (no such run, bad input) and RunError (no answer). Those that
    follow a run print its end and its bill, and give back what the command exits with.
    """

    def submit(
        self,
        pipeline: str,
        settings: Mapping[str, str],
        consent: Consent,
        *,
        as_json: bool,
        cancel_on_interrupt: bool,
    ) -> int:
        """Run a pipeline to its end."""

    def resume(self, run: str, settings: Mapping[str, str], *, as_json: bool) -> int:
        """Go on with a run that did not finish, to its end."""

    def cancel(self, run: str) -> str:
        """End a running run; a line that says so."""

    def watch(self, run: str, *, as_json: bool, cancel_on_interrupt: bool) -> int:
        """Follow a run that was left running, to its end."""

    def resize(self, run: str, workers: int, machine_type: str) -> str:
        """Ask a run that trains for another number of workers, of another machine type where one
        is given; a line that says so."""

    def listed(self) -> Listing:
        """The newest runs."""

    def logs(self, run: str, step: str) -> Iterator[tuple[str, str]]:
        """A title and the text of each log of a run, or of one step of it."""

    def facts(self, run: str) -> tuple[RunRecord, Bill]:
        """What a run was asked for and has come to, and its bill."""

    def bill(self, run: str) -> Bill:
        """A run's bill."""

    def charged(self, since: str, until: str, run: str = "") -> Charged:
        """What all runs, or one, were charged, and what of the nodes nobody held.

        Args:
            since, until: days, YYYY-MM-DD, UTC; "" for the first that there is, and until now.
            run: whose charges alone, without nodes; "" for all.
        """

    def report(self, run: str, out: Path | None) -> Path:
        """Write a run's HTML page, into its folder on this machine without `out`; where it is."""
