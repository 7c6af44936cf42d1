"""What every step does around its work: its log, its events, its usage, its end.

A step knows its run from its environment (runcontext.py). In a pod there is no submit: log and
events are what the pod writes, the attempt is what the store says of the pod's uid where that
matters, else what Argo counts. Where TALLY_METER_URL names a meter, that hears of them too
(outbox.py); what the pod used it sees by itself. The user's own files come in TALLY_USER_FILES.
Where the store's server is left open, the first of TALLY_STORE_ENDPOINTS with an address is taken.
"""

import contextlib
import functools
import json
import logging
import os
import signal
import sys
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from tally import clock, events, lifeline, storage, userfile
from tally.buckets import endpoints
from tally.costing.documents import finite
from tally.costing.quotes import RunEvent
from tally.costing.usage import Phase, Usage
from tally.errors import RunError, TallyError
from tally.runcontext import RunContext
from tally.steps.recorder import Recorder, local_usage, started_microseconds

if TYPE_CHECKING:
    from tally.steps.outbox import Outbox

# Kubeflow's executor has every library say what it does; of these only warnings are news
_CHATTY = ("alembic", "botocore", "tensorflow")
TERMINATED = 143
OUTBOX_SECONDS = 10.0  # for the last of what the meter is told
_TERMINATED_OUTBOX_SECONDS = 0.5


@dataclass(frozen=True)
class Step:
    """A step at work."""

    name: str
    run: RunContext
    recorder: Recorder
    outbox: "Outbox | None" = None

    @property
    def run_id(self) -> str:
        """The run's."""
        return self.run.run_id

    @property
    def pipeline(self) -> str:
        """The run's."""
        return self.run.pipeline

    @property
    def attempt(self) -> int:
        """Which life of it this is."""
        return self.run.attempt

    @property
    def folder(self) -> Path:
        """The run's on this machine."""
        return self.run.folder

    @property
    def start_phase(self) -> Phase:
        """What starting up counts as: a later life starts because an earlier one ended early."""
        return "startup" if self.attempt == 1 else "restart"

    def event(self, event: str, **fields: Any) -> None:
        """Append to the run's events."""
        with storage.disk(self.folder):
            events.write(self.folder, self.attempt, self.name, event, **fields)
        if self.run.on_cluster:
            print(json.dumps({"step": self.name, "event": event, **fields}), flush=True)
        if self.outbox is not None and event != "progress":
            self.outbox.happened(event, self.name, fields)

    def decided(self, event: str, **fields: Any) -> None:
        """Append to the run's events what the ledger keeps too: the meter's, or this machine's."""
        self.event(event, **fields)
        if self.outbox is None:
            from tally.costing.ledger import open_ledger

            at = clock.now_microseconds()
            open_ledger().write_events(
                [
                    RunEvent(
                        run_id=self.run_id,
                        at_microseconds=at,
                        kind=event,
                        step=self.name,
                        facts=finite(fields),
                    )
                ]
            )

    def measured(self, metrics: Mapping[str, float], **changes: Any) -> None:
        """Keep in the run's record what was measured.

        Args:
            metrics: by name.
            changes: other fields of it, examples_trained and words.
        """
        if self.outbox is not None:
            self.outbox.measured(self.name, {**metrics, **changes})
        from tally.costing.ledger import open_ledger

        ledger = open_ledger()
        if run := ledger.run(self.run_id):  # a pod has a ledger of its own
            ledger.update_run(self.run_id, metrics={**run.metrics, **metrics}, **changes)


@contextlib.contextmanager
def step(
    name: str,
    cores: float | None = None,
    *,
    counts_lives: bool = False,
    run: RunContext | None = None,
) -> Iterator[Step]:
    """Run a step's work inside this block.

    Args:
        name: of the step.
        cores: held while it lasts; None for all of the machine, 0 where only its workers hold any.
        counts_lives: in a pod it goes on where another life of it ended: which one this is, the
            store knows (lives.py).
        run: where that is known already, which life it is too; else as the environment says.

    Raises:
        SystemExit: the work failed or was ended; the reason is in the run's events.
    """
    untold, is_known = "", run is not None
    run = _become(name, run)
    if counts_lives and not is_known:
        run, untold = _life(run, name)
    recorder = Recorder()
    outbox = _outbox(run.run_id) if run.on_cluster else None
    here = Step(name, run, recorder, outbox)
    work = _begin_work(here, float(os.cpu_count() or 1) if cores is None else cores)
    code = 1
    try:
        _start(here, untold)
        yield here
        here.event("step_ended", tensorflow_imported="tensorflow" in sys.modules)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except TallyError as error:
        if error.story:
            print(error.story, file=sys.stderr)
        code = _failed(here, str(error), error.exit_code)
    except BaseException as error:
        code = _surprised(here, error)
    finally:
        recorder.close(work, clock.now_microseconds())
        recorder.stop()
    if recorder.error is not None and code == 0:
        code = _failed(here, f"{name}: usage could not be written: {recorder.error}", 1)
    if outbox is not None:
        _send_rest(outbox, _TERMINATED_OUTBOX_SECONDS if code == TERMINATED else OUTBOX_SECONDS)
    if code:
        sys.exit(code)


def _become(name: str, run: RunContext | None) -> RunContext:
    """Make this process the step's: its log, how it is ended, what it says of libraries."""
    for library in _CHATTY:
        logging.getLogger(library).setLevel(logging.WARNING)
    try:
        run = run or RunContext.read()
        storage.home()
    except TallyError as error:  # there are no events yet to tell it in
        print(error, file=sys.stderr, flush=True)
        sys.exit(error.exit_code)
    run.folder.mkdir(parents=True, exist_ok=True)
    if run.submit_pid:
        _log_to(run.folder / "logs" / f"{name}.log")
    signal.signal(signal.SIGTERM, _terminate)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # submit passes on what a terminal sends
    if run.submit_pid:
        lifeline.end_with(run.submit_pid)
    return run


def _begin_work(here: Step, cores: float) -> Usage:
    """The row of the step's work, open from now on; that of its start is closed."""
    pid, begun = os.getpid(), clock.now_microseconds()
    started = min(started_microseconds(pid), begun)
    own = functools.partial(
        local_usage, here.run, step=here.name, worker="", pid=pid, container="step", cores=cores
    )
    start_up = own(phase=here.start_phase, start=started)
    work = own(phase="work", start=begun)
    here.recorder.close(here.recorder.open(start_up, pid), begun)
    here.recorder.open(work, pid)
    return work


def _start(here: Step, untold: str) -> None:
    """Say that it begins, and make ready what the environment brings."""
    here.event("step_started")
    if untold:
        here.event("note", message=untold)
    userfile.unpack()
    endpoints.use_first_there()


def _life(run: RunContext, name: str) -> tuple[RunContext, str]:
    """The run with the life of the step that this pod is, and what went wrong in finding out."""
    if not run.pod_uid or not os.environ.get("TALLY_STORE"):
        return run, ""
    from tally.steps import lives

    try:
        endpoints.use_first_there()
        return replace(run, attempt=lives.count(run.run_id, name, run.pod_uid)), ""
    except (TallyError, OSError) as error:
        why = f"which life of {name} this is was not found ({error})"
        return run, f"{why}; it counts as {run.attempt}"


def _outbox(run_id: str) -> "Outbox | None":
    """To the meter, where there is one; what that takes is imported only then."""
    if not os.environ.get("TALLY_METER_URL"):
        return None
    from tally.steps.outbox import Outbox

    return Outbox(run_id)


def _terminate(number: int, frame: FrameType | None) -> None:
    sys.exit(TERMINATED)


def _surprised(here: Step, error: BaseException) -> int:
    """What a step exits with after an error that nobody has put into words."""
    traceback.print_exc()
    logs = f"see `make logs RUN={here.run_id} STEP={here.name}`"
    remedy = "see its pod's log" if here.run.on_cluster else logs
    return _failed(here, f"{here.name}: {type(error).__name__}: {error}; {remedy}", 1)


def _send_rest(outbox: "Outbox", seconds: float) -> None:
    if missing := outbox.close(seconds):
        print(missing, file=sys.stderr, flush=True)


def _failed(here: Step, message: str, exit_code: int) -> int:
    print(message, file=sys.stderr, flush=True)
    with contextlib.suppress(OSError, RunError):  # the disk may be what failed
        here.event("failed", message=message, exit_code=exit_code)
    return exit_code


def _log_to(path: Path) -> None:
    """Send this process's output to the step's own log: its stdout is a pipe that may close."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
