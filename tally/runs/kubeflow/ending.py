"""How a run on a cluster ended: the reason, the bill, the exit code."""

import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from tally.costing.bill import Bill
from tally.errors import RunError, TallyError
from tally.meterclient import MeterClient
from tally.runs.kubeflow.connection import Connection
from tally.runs.kubeflow.steps import Step, outcome, steps
from tally.runs.kubeflow.words import log_reason

SCHEMA = 1
BILL_SECONDS = 10.0
FINAL_SECONDS = 45.0  # the meter looks for ended runs each 10 to 30 s
_FINAL_LOOK_SECONDS = 1.0
_FINAL_SAID_SECONDS = 3.0
_EXIT_CODES = {"succeeded": 0, "skipped": 0, "failed": 1, "cancelled": 130, "running": 0}
_LOGS = 3  # how many failed pods' logs are looked through for a reason


@dataclass(frozen=True)
class Ended:
    """A run as it was when submit stopped following it.

    Attributes:
        state: "succeeded", "failed", "cancelled", "skipped", or "running" where it was left so.
        error: for a failed run, which step and why.
        bill: what the meter has, None where there is none.
        bill_note: why there is none, or why it is not final yet, and how to see it.
    """

    run_id: str
    name: str
    state: str
    error: str
    link: str
    bill: Bill | None = None
    bill_note: str = ""

    @property
    def exit_code(self) -> int:
        """What the command exits with."""
        return _EXIT_CODES[self.state]


def ended(
    connection: Connection,
    run: Mapping[str, Any],
    names: Sequence[str],
    reasons: Mapping[str, str],
) -> Ended:
    """What there is to say of a run that has ended.

    Args:
        run: the server's answer, of an ended run.
        names: of its tasks, in order.
        reasons: by step, what the cluster says.
    """
    run_id, end = str(run["run_id"]), outcome(run)
    assert end is not None
    error = ""
    if end.state == "failed":
        error = end.error or _why(connection, run_id, run, names, reasons)
        if end.word != "FAILED":
            error = f"{end.word}: {error}"
    elif end.state == "cancelled":
        error = f"run {run_id} was cancelled"
    bill, note = _bill(run_id, connection.settings.namespace)
    name, link = str(run.get("display_name") or ""), connection.run_link(run_id)
    return Ended(run_id, name, end.state, error, link, bill, note)


def left_running(connection: Connection, run: Mapping[str, Any]) -> Ended:
    """The run goes on without anybody who follows it."""
    run_id = str(run["run_id"])
    return Ended(run_id, str(run.get("display_name") or ""), "running", "",
                 connection.run_link(run_id))  # fmt: skip


def say(end: Ended, *, as_json: bool) -> int:
    """Print how it ended, with its bill; the exit code."""
    if as_json:
        print(json.dumps(_document(end)))
    if end.state == "running":
        print(f"left running: `make watch RUN={end.run_id}` goes on watching, "
              f"`make cancel RUN={end.run_id}` ends it", file=sys.stderr)  # fmt: skip
        return end.exit_code
    if not as_json:
        _print_bill(end)
    if end.state in ("failed", "cancelled"):
        print(f"{end.state}: {end.error}", file=sys.stderr)
    elif not as_json:
        print(f"{end.state} · {end.link}")
    return end.exit_code


def _print_bill(end: Ended) -> None:
    if end.bill is None:
        print(end.bill_note)
        return
    from tally.reports.text import bill_table

    Console().print(bill_table(end.bill))
    if end.bill_note:
        print(end.bill_note)


def _document(end: Ended) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "id": end.run_id,
        "name": end.name,
        "state": end.state,
        "cost_usd": None if end.bill is None else float(end.bill.total_usd),
        "error": end.error,
        "link": end.link,
        "bill": None if end.bill is None else end.bill.as_json(),
        "bill_is_final": end.bill is not None and end.bill.is_final,
    }


def _why(connection: Connection, run_id: str, run: Mapping[str, Any], names: Sequence[str],
         reasons: Mapping[str, str]) -> str:  # fmt: skip
    """Which step failed, and why: the cluster's word, else its log's."""
    failed = [step for step in steps(run, names) if step.state == "failed"]
    if not failed:
        failed = [Step("root", "failed", nodes=_root_driver(run))]
    step = failed[0]
    cluster = reasons.get(step.name, "")
    plain = cluster.removeprefix("driver: ").startswith("exit code")
    reason = cluster if cluster and not plain else _from_logs(connection, run_id, step) or cluster
    link = connection.run_link(run_id)
    which = "before its first step" if step.name == "root" else step.name
    if reason:
        return f"{which}: {reason}"
    return f"{which}: no reason is known here; look at its log in {link}"


def _from_logs(connection: Connection, run_id: str, step: Step) -> str:
    for node in step.nodes[-_LOGS:]:
        try:
            text = connection.text(f"/apis/v1alpha1/runs/{run_id}/nodes/{node}/log")
        except TallyError:
            continue  # the pod is gone, or its log not kept
        if reason := log_reason(text):
            return reason
    return ""


def _root_driver(run: Mapping[str, Any]) -> tuple[str, ...]:
    details = (run.get("run_details") or {}).get("task_details") or []
    return tuple(
        str(child.get("pod_name"))
        for row in details
        if row.get("display_name") == "root-driver" and row.get("state") == "FAILED"
        for child in (row.get("child_tasks") or [])[-1:]
    )


def _bill(run_id: str, namespace: str) -> tuple[Bill | None, str]:
    """The bill, once the meter has closed the run; the one so far where that takes too long."""
    try:
        meter = MeterClient.from_environment()
        if meter is None:
            return None, f"bill: set TALLY_METER_URL, then `make bill RUN={run_id}`"
        bill = _final(meter, run_id, namespace)
    except TallyError as error:
        return None, f"{error} (`make bill RUN={run_id}` shows the bill later)"
    if bill.is_final:
        return bill, ""
    return bill, (
        f"so far: the meter has not closed the run within {FINAL_SECONDS:.0f} s; "
        f"`make bill RUN={run_id}` shows its final bill later"
    )


def _final(meter: MeterClient, run_id: str, namespace: str) -> Bill:
    """The bill once the run is closed; the newest where that, or the meter, does not come in time.

    Raises:
        RunError: the meter has not answered once. SpecError: it refuses.
    """
    deadline = time.monotonic() + FINAL_SECONDS
    said, bill = False, None
    while True:
        left = deadline - time.monotonic()
        try:
            seconds = max(1.0, min(BILL_SECONDS, left))
            bill = meter.bill(run_id, namespace, seconds=seconds)
        except RunError:  # it may be about to start anew
            if left < 0 and bill is None:
                raise
        if bill is not None and (bill.is_final or left < 0):
            return bill
        if left < FINAL_SECONDS - _FINAL_SAID_SECONDS and not said:
            said = True
            print("the run has ended; waiting for the meter to close its bill "
                  f"(at most {FINAL_SECONDS:.0f} s)", file=sys.stderr)  # fmt: skip
        time.sleep(_FINAL_LOOK_SECONDS)
