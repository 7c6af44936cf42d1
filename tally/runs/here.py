"""This machine's runs, as every engine has them."""

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from tally import storage
from tally.costing.bill import Bill
from tally.costing.charged import charged
from tally.costing.days import Charged, window
from tally.costing.ledger import open_ledger
from tally.costing.runs import RunRecord
from tally.runs import asking, bills, following, listing, local
from tally.runs.consent import Consent
from tally.runs.engines import Listing
from tally.tasks import reading


@dataclass(frozen=True)
class Here:
    """See Engine.

    Attributes:
        namespace: whose runs are meant, of a ledger that has a cluster's; "" for any's.
    """

    namespace: str = ""

    def submit(
        self,
        pipeline: str,
        settings: Mapping[str, str],
        consent: Consent,
        *,
        as_json: bool,
        cancel_on_interrupt: bool,
    ) -> int:
        """As Engine; an interruption always ends the run, which can be resumed."""
        console = Console(stderr=as_json)
        return tell(local.submit(pipeline, dict(settings), console, consent), as_json)

    def resume(self, run: str, settings: Mapping[str, str], *, as_json: bool) -> int:
        """As Engine, from its last checkpoint; settings can raise its limits."""
        found = self._found(run).id
        return tell(local.resume(found, Console(stderr=as_json), dict(settings)), as_json)

    def cancel(self, run: str) -> str:
        """As Engine; it keeps its last checkpoint."""
        found = self._found(run)
        asking.cancel(found)
        return f"cancelled {found.id}; `make resume RUN={found.id}` goes on with it"

    def watch(self, run: str, *, as_json: bool, cancel_on_interrupt: bool) -> int:
        """As Engine; an interruption leaves it running unless it is to cancel it."""
        ledger = open_ledger()
        found = listing.find(ledger, run, self.namespace)
        ended = following.follow(ledger, found, Console(stderr=as_json))
        if ended is None and cancel_on_interrupt:
            print(self.cancel(found.id), file=sys.stderr)
            ended = following.follow(ledger, found, Console(stderr=as_json))
        if ended is None:
            print(
                f"left running: `make watch RUN={found.id}` goes on watching, "
                f"`make cancel RUN={found.id}` ends it",
                file=sys.stderr,
            )
            return local.INTERRUPTED
        return tell(ended, as_json)

    def resize(self, run: str, workers: int, machine_type: str) -> str:
        """As Engine."""
        found = self._found(run)
        asking.resize(found, workers, machine_type)
        on = f" on {machine_type}" if machine_type else ""
        return f"asked {found.id} for {workers} workers{on}; its submit shows what it does"

    def listed(self) -> Listing:
        """As Engine."""
        rows = listing.listed()
        return Listing(listing.rows_json(rows), [row.cells() for row in rows])

    def logs(self, run: str, step: str) -> Iterator[tuple[str, str]]:
        """As Engine; Kubeflow's runner's own is called engine."""
        for path in listing.log_files(self._found(run).id, step):
            yield path.stem, path.read_text(errors="replace")

    def facts(self, run: str) -> tuple[RunRecord, Bill]:
        """As Engine."""
        ledger = open_ledger()
        record = listing.find(ledger, run, self.namespace)
        return record, ledger.bill(record.id, record.namespace)

    def bill(self, run: str) -> Bill:
        """As Engine; where the ledger has no such run, the meter's."""
        return bills.bill_of(open_ledger(), run, self.namespace)

    def charged(self, since: str, until: str, run: str = "") -> Charged:
        """As Engine."""
        ledger = open_ledger()
        key = listing.find(ledger, run, self.namespace).key if run else None
        return charged(ledger, *window(since, until), key)

    def report(self, run: str, out: Path | None) -> Path:
        """As Engine."""
        ledger = open_ledger()
        return listing.page(ledger, listing.find(ledger, run, self.namespace), out)

    def _found(self, run: str) -> RunRecord:
        return open_ledger().find_run(run, self.namespace or None)


def tell(ended: local.Ended, as_json: bool) -> int:
    """Print the bill, and of a run that did not succeed why and the remedy; the exit code."""
    from tally.reports.quote_text import against
    from tally.reports.text import bill_table

    run = ended.run
    if as_json:
        row = listing.row_json(run, ended.bill)
        print(json.dumps({"schema": 1, **row, "bill": ended.bill.as_json()}))
    else:
        Console().print(bill_table(ended.bill))
        if ended.quote is not None and run.state == "succeeded":
            print(against(ended.quote, ended.bill))
    if run.state == "succeeded":
        if not as_json:
            print(f"{_outcome(run)} · `make report RUN={run.id}`")
    else:
        print(f"{run.state}: {run.error}", file=sys.stderr)
        resume = "" if "make resume" in run.error else f" · `make resume RUN={run.id}` goes on"
        print(f"cost so far ${ended.bill.total_usd:.4f}{resume}", file=sys.stderr)
    return ended.exit_code


def _outcome(run: RunRecord) -> str:
    """What a run that went well has come to, in a few words."""
    headline = reading.words(run.words, run.metrics).headline
    if headline.name not in run.metrics:
        return "no new data: nothing was trained"
    words = f"{headline.title} {headline.plain(run.metrics[headline.name])}"
    measured = storage.run_folder(run.id) / "evaluation.json"
    found = json.loads(measured.read_text()) if measured.exists() else {}
    if beside := found.get("baseline"):
        words += f" (baseline {beside['name']}: {headline.plain(beside[headline.name])})"
    return f"{words}; {found['verdict']['reason']}" if found.get("verdict") else words
