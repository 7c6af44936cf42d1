"""Runs on this machine: submit, resume and cancel. Submit owns a run's ending."""

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from tally import clock, events, lifeline, storage
from tally.costing.bill import Bill
from tally.costing.ledger import Ledger, open_ledger
from tally.costing.quotes import Quote
from tally.costing.runs import RunRecord, State
from tally.errors import SpecError
from tally.machines.catalogue import machine
from tally.machines.machine_type import MachineType
from tally.reports.quote_text import between
from tally.runcontext import RunContext
from tally.runs import limited, pipelines, quotes
from tally.runs.checking import check_here
from tally.runs.consent import Consent
from tally.runs.identity import new_run_id, owner
from tally.runs.progress import Display, Price, Tail, display
from tally.runs.signals import held
from tally.steps.recorder import Recorder, local_usage, started_microseconds
from tally.userfile import is_user_file

INTERRUPTED = 130
POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Ended:
    """How a run ended, and what it cost."""

    run: RunRecord
    bill: Bill
    exit_code: int
    quote: Quote | None = None


def submit(
    name: str, settings: dict[str, str], console: Console, consent: Consent | None = None
) -> Ended:
    """Run a pipeline on this machine to its end, drawing its progress.

    Args:
        name: a packaged pipeline, or the path of the user's own file.
        settings: parameters over the pipeline's presets.
        console: where progress goes.
        consent: to what the quote says.

    Raises:
        SpecError: bad input, found before anything is made; nothing meets budget or deadline.
        typer.Abort: the user does not agree to the quote.
    """
    began = started_microseconds(os.getpid())
    pipelines.check(name)
    here, ledger = machine("local"), open_ledger()
    pipeline = pipelines.load(name)
    spec = check_here(pipelines.spec(pipeline, settings))
    run = RunRecord(
        id=new_run_id(),
        pipeline=pipeline.name,
        state="running",
        spec=spec.model_dump(),
        created_at_microseconds=clock.now_microseconds(),
        value_of_hour_usd=here.value_of_hour_usd,
        attempt=0,
    )
    with console.status(f"quoting {pipeline.name}"):
        quoted = quotes.of_submit(ledger, pipeline.name, spec, run.created_at_microseconds, began)
    usd = quoted.picked.usd
    (consent or Consent()).require(console, usd.expected, usd.high, pipeline.name)
    folder = storage.run_folder(run.id)
    reference = str(pipelines.user_path(name)) if is_user_file(name) else name
    with held() as received, _only_one(folder, run.id) as lock:
        with storage.atomic_file(folder / "run.json") as file:
            asked = {"schema": 1, "pipeline": reference, "spec": run.spec}
            file.write(json.dumps(asked).encode())
        ledger.put_quote(quoted.of_run(run.id, clock.now_microseconds(), spec.limit_usd))
        return _attempt(run, folder, here, ledger, console, received, lock)


def resume(run_id: str, console: Console, settings: dict[str, str] | None = None) -> Ended:
    """Go on with a run that was interrupted, cancelled or failed, from its last checkpoint.

    Args:
        run_id: which.
        console: where progress goes.
        settings: other limits (tally.runs.limited.RAISABLE) than it had.

    Raises:
        SpecError: it is alive, has succeeded, its folder is gone, or its limits leave nothing.
    """
    folder = storage.run_folder(run_id)
    if not (folder / "run.json").exists():
        raise SpecError(f"run {run_id}: expected its folder {folder}, got none; submit it anew")
    here, ledger = machine("local"), open_ledger()
    with held() as received, _only_one(folder, run_id) as lock:
        run = ledger.run(run_id)  # as it is now that nobody else can change it
        if run is None or run.state == "succeeded":
            raise SpecError(
                f"run {run_id}: expected one that did not finish, got one that succeeded; "
                f"see `make bill RUN={run_id}`"
            )
        ledger.close_open_rows(run_id)
        spec = limited.again(run, folder, settings or {}, float(ledger.bill(run_id).total_usd))
        limited.keep(folder, spec)
        again = replace(run, error="", ended_at_microseconds=None, spec=spec)
        return _attempt(again, folder, here, ledger, console, received, lock)


def _attempt(
    last: RunRecord,
    folder: Path,
    here: MachineType,
    ledger: Ledger,
    console: Console,
    received: list[int],
    lock: int,
) -> Ended:
    """The next life of a run, from its first process to its bill."""
    run = replace(last, state="running", owner=owner(), attempt=last.attempt + 1)
    pid = os.getpid()
    whose = RunContext(
        run_id=run.id, pipeline=run.pipeline, attempt=run.attempt, folder=folder, submit_pid=pid
    )
    before_usd = float(ledger.bill(run.id).total_usd) if run.attempt > 1 else 0.0
    ledger.put_run(run)
    recorder = Recorder()
    row = local_usage(
        whose, step="submit", worker="", pid=pid, container="submit", cores=0.0,
        phase="startup" if run.attempt == 1 else "restart", start=started_microseconds(pid),
    )  # fmt: skip
    recorder.open(row, pid)
    machine_usd = here.price_usd_per_hour + here.software_usd_per_hour
    console.print(
        f"[bold]{run.pipeline}[/] on this machine (${machine_usd:.2f} an hour, and your time at "
        f"${run.value_of_hour_usd:.2f}){_quoted(ledger, run.id)}, run {run.id}"
        + (f", attempt {run.attempt}" if run.attempt > 1 else ""),
        highlight=False,
        soft_wrap=True,
    )
    price = Price(machine_usd + run.value_of_hour_usd, row.start_microseconds, before_usd)
    failures = _watch(whose, received, display(console, price), lock)
    state, error, code = _outcome(whose, received, failures)
    recorder.close(row, clock.now_microseconds())
    recorder.stop()
    ledger.close_open_rows(run.id)
    ledger.update_run(
        run.id,
        state=state,
        error=error,
        owner="",
        ended_at_microseconds=clock.now_microseconds(),
    )
    ended = ledger.run(run.id)
    assert ended is not None
    return Ended(ended, ledger.bill(run.id), code, ledger.quote(run.id))


def _quoted(ledger: Ledger, run_id: str) -> str:
    quote = ledger.quote(run_id)
    if quote is None:
        return ""
    budget = "" if quote.budget_usd is None else f", budget ${quote.budget_usd:g}"
    return f", quote {between(quote.low_usd, quote.high_usd)}{budget}"


def _watch(run: RunContext, received: list[int], shown: Display, lock: int) -> list[dict[str, Any]]:
    """Drive the engine to its end, or end it on a signal; the `failed` events of its steps."""
    tail = Tail(run.folder)
    failures: list[dict[str, Any]] = []
    unfinished: list[str] = []
    engine = _start_engine(run, lock)

    def look() -> None:
        for event in tail.new():
            shown.show(event)
            if event["event"] == "failed":
                failures.append(event)
            elif event["event"] == "step_started":
                unfinished.append(event["step"])
            elif event["event"] == "step_ended":
                unfinished.remove(event["step"])
        shown.tick()

    try:
        while not received:
            with contextlib.suppress(subprocess.TimeoutExpired):
                engine.wait(POLL_SECONDS)
                break
            look()
    finally:
        lifeline.end_group(engine.pid)
        engine.wait()
        look()
        shown.close()
    if engine.returncode != 0 and not failures and not received:
        step = unfinished[0] if unfinished else "pipeline"
        failures.append(
            {
                "step": step,
                "exit_code": 1,
                "message": f"{step}: expected it to end, got no word of its process "
                "(killed, or out of memory)",
            }
        )
    return failures


def _start_engine(run: RunContext, lock: int) -> subprocess.Popen[bytes]:
    """Kubeflow Pipelines' local runner in a session of its own, writing to the run's log.

    It holds the run's lock with submit: should submit be killed, nobody resumes the run before
    the engine has ended it.
    """
    log = run.folder / "logs" / "engine.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "tally.runs.engine"],
            env={**os.environ, **run.environment()},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            pass_fds=[lock],
        )


def _outcome(
    run: RunContext, received: list[int], failures: list[dict[str, Any]]
) -> tuple[State, str, int]:
    if received:
        asked = any(
            event["event"] == "cancel" and event["attempt"] == run.attempt
            for event in events.read(run.folder)
        )
        if asked:
            return "cancelled", "cancelled by `tally cancel`", INTERRUPTED
        return "interrupted", f"interrupted by {signal.Signals(received[0]).name}", INTERRUPTED
    if failures:
        return "failed", str(failures[0]["message"]), int(failures[0]["exit_code"])
    return "succeeded", "", 0


@contextlib.contextmanager
def _only_one(folder: Path, run_id: str) -> Iterator[int]:
    """Hold a run while it is alive: two submits of one run would share its checkpoints."""
    folder.mkdir(parents=True, exist_ok=True)
    with storage.disk(folder), open(folder / "lock", "wb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise SpecError(
                f"run {run_id}: expected one that is not running, got one that is; "
                f"`make cancel RUN={run_id}` ends it"
            ) from error
        yield file.fileno()
