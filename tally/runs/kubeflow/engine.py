"""A cluster's runs, as every engine has them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from tally import storage
from tally.costing.bill import Bill
from tally.costing.days import Charged, refuse_unpriced, window
from tally.costing.runs import RunRecord, State
from tally.errors import SpecError
from tally.meterclient import MeterClient
from tally.oneline import one_line
from tally.runs.consent import Consent
from tally.runs.engines import Listing
from tally.runs.kubeflow import cancelling, ending, listing, submitting
from tally.runs.kubeflow import logs as kept
from tally.runs.kubeflow.connection import Connection, connect
from tally.runs.kubeflow.finding import find_run, whole_run
from tally.runs.kubeflow.settings import settings as settings_of_environment
from tally.runs.kubeflow.steps import outcome

_STATES: dict[str, State] = {
    "succeeded": "succeeded", "skipped": "succeeded", "failed": "failed", "cancelled": "cancelled",
}  # fmt: skip


@dataclass(frozen=True)
class Kubeflow:
    """See Engine.

    Attributes:
        namespace: whose runs are meant, in place of KFP_NAMESPACE's; "" where that is enough.
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
        """As Engine; an interruption leaves the run running unless it is to cancel it."""
        end = submitting.submit(
            pipeline,
            settings,
            Console(stderr=as_json),
            cancel_on_interrupt=cancel_on_interrupt,
            consent=consent,
        )
        return ending.say(end, as_json=as_json)

    def resume(self, run: str, settings: Mapping[str, str], *, as_json: bool) -> int:
        """As Engine: Kubeflow's retry of the steps that failed, with the parameters that it had."""
        if settings:
            raise SpecError(
                f"SET: expected none for a run on a cluster, got {', '.join(sorted(settings))}; "
                "Kubeflow retries a run as it was: leave it out, or submit another"
            )
        return ending.say(
            submitting.resume(self._connect(), run, Console(stderr=as_json)), as_json=as_json
        )

    def cancel(self, run: str) -> str:
        """As Engine."""
        return cancelling.cancel(self._connect(), run, Console(stderr=True))

    def watch(self, run: str, *, as_json: bool, cancel_on_interrupt: bool) -> int:
        """As Engine; an interruption as of submit."""
        console = Console(stderr=as_json)
        end = submitting.rejoin(
            self._connect(), run, console, cancel_on_interrupt=cancel_on_interrupt
        )
        return ending.say(end, as_json=as_json)

    def resize(self, run: str, workers: int, machine_type: str) -> str:
        """As Engine: the meter takes the wish from who may update the run's Workflow, the conductor
        asks it for them."""
        connection = self._connect()
        run_id = str(find_run(connection, run)["run_id"])
        _meter().resize(run_id, workers, machine_type, connection.settings.pods_namespace)
        on = f" on {machine_type}" if machine_type else ""
        watching = f"`make watch RUN={run_id}` shows what it does"
        return f"asked {run_id} for {workers} workers{on}; {watching}"

    def listed(self) -> Listing:
        """As Engine."""
        rows = listing.listed()
        return Listing(listing.rows_json(rows), [row.cells() for row in rows])

    def logs(self, run: str, step: str) -> Iterator[tuple[str, str]]:
        """As Engine."""
        connection = self._connect()
        found = whole_run(connection, run)
        return kept.logs(connection, found, submitting.tasks_of(connection, found), step)

    def facts(self, run: str) -> tuple[RunRecord, Bill]:
        """As Engine: parameters and state are Kubeflow's, what was measured and the bill the
        meter's."""
        connection = self._connect()
        found = whole_run(connection, run)
        run_id = str(found["run_id"])
        meter = _meter()
        end = outcome(found)
        record = replace(
            meter.run(run_id, self.namespace),
            state=_STATES[end.state] if end else "running",
            spec=dict((found.get("runtime_config") or {}).get("parameters") or {}),
        )
        return record, meter.bill(run_id, self.namespace)

    def bill(self, run: str) -> Bill:
        """As Engine, the meter's."""
        meter = _meter()
        return meter.bill(meter.find(run, self.namespace), self.namespace)

    def charged(self, since: str, until: str, run: str = "") -> Charged:
        """As Engine, as the meter charged it: it has what shared a node with a pod."""
        begin, end = window(since, until)
        meter = _meter()
        run_id = meter.find(run, self.namespace) if run else ""
        found = meter.charged(begin, end, run_id, self.namespace)
        refuse_unpriced(found.charges, (account for _, account in found.accounts))
        return found

    def report(self, run: str, out: Path | None) -> Path:
        """As Engine, of what the meter has; the page says what it lacks."""
        from tally.reports.report import write_report
        from tally.reports.told import NOT_TOLD, events_of

        (record, bill), meter = self.facts(run), _meter()
        named = record.id, record.namespace
        path = out or storage.run_folder(record.id) / "report.html"
        events = events_of(meter.events(*named), meter.usage(*named))
        try:
            write_report(record, bill, events, None, path, meter.quote(*named), NOT_TOLD)
        except (TypeError, KeyError, ValueError, AttributeError) as error:
            raise SpecError(
                f"run {record.id}: expected events as Tally's steps write them, got others "
                f"({type(error).__name__}: {one_line(str(error), 200)}); see them in the meter's "
                f"/v1/runs/{record.id}/events"
            ) from error
        return path

    def _connect(self) -> Connection:
        found = settings_of_environment()
        if found and self.namespace:
            found = replace(found, namespace=self.namespace)
        return connect(found)


def _meter() -> MeterClient:
    meter = MeterClient.from_environment()
    if meter is None:
        raise SpecError(
            "TALLY_METER_URL: expected the address of the cluster's meter, which knows its runs, "
            "got none; set it, or ENGINE=local for the runs of this machine"
        )
    return meter
