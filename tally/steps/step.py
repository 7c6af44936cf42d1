"""What every step does around its work: its log, its events, its usage, its end.

A step knows its run from the environment that submit gives it:

    TALLY_RUN_ID, TALLY_PIPELINE, TALLY_ATTEMPT     whose it is
    TALLY_SUBMIT_PID                                the process that it must not outlive
    TALLY_CLOCK_OFFSET_MICROSECONDS                 the run's clock

In a pod there is no submit: log and events are what the pod writes, the attempt is what the store
says of TALLY_POD_UID where it matters, else what TALLY_ARGO_NODE counts. TALLY_METER_URL there is
the meter that hears of them too (outbox.py); what the pod used it sees by itself. The user's own
files come in TALLY_USER_FILES.
Where the store's server is left open, the first of TALLY_STORE_ENDPOINTS with an address is taken.
"""

import contextlib
import functools
import json
import logging
import os
import re
import signal
import sys
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from tally import clock, events, lifeline, storage, userfile
from tally.buckets import endpoints
from tally.costing.documents import finite
from tally.costing.quotes import RunEvent
from tally.costing.usage import Phase
from tally.errors import RunError, TallyError
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
    run_id: str
    attempt: int
    folder: Path
    recorder: Recorder
    in_pod: bool = False
    outbox: "Outbox | None" = None

    @property
    def pipeline(self) -> str:
        """The run's."""
        return os.environ.get("TALLY_PIPELINE", "train")

    @property
    def start_phase(self) -> Phase:
        """What starting up counts as: a later life starts because an earlier one ended early."""
        return "startup" if self.attempt == 1 else "restart"

    def event(self, event: str, **fields: Any) -> None:
        """Append to the run's events."""
        with storage.disk(self.folder):
            events.write(self.folder, self.name, event, **fields)
        if self.in_pod:
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
            changes: other fields of it, examples_trained.
        """
        if self.outbox is not None:
            self.outbox.measured(self.name, {**metrics, **changes})
        from tally.costing.ledger import open_ledger

        ledger = open_ledger()
        if run := ledger.run(self.run_id):  # a pod has a ledger of its own
            ledger.update_run(self.run_id, metrics={**run.metrics, **metrics}, **changes)


@contextlib.contextmanager
def step(name: str, cores: float | None = None, *, counts_lives: bool = False) -> Iterator[Step]:
    """Run a step's work inside this block.

    Args:
        name: of the step.
        cores: held while it lasts; None for all of the machine, 0 where only its workers hold any.
        counts_lives: in a pod it goes on where another life of it ended: which one this is, the
            store knows (lives.py).

    Raises:
        SystemExit: the work failed or was ended; the reason is in the run's events.
    """
    for library in _CHATTY:
        logging.getLogger(library).setLevel(logging.WARNING)
    run_id = os.environ["TALLY_RUN_ID"]
    folder = storage.run_folder(run_id)
    submit = os.environ.get("TALLY_SUBMIT_PID")
    folder.mkdir(parents=True, exist_ok=True)
    if submit:
        _log_to(folder / "logs" / f"{name}.log")
    signal.signal(signal.SIGTERM, _terminate)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # submit passes on what a terminal sends
    if submit:
        lifeline.end_with(int(submit))
    untold = ""
    if "TALLY_ATTEMPT" not in os.environ:
        first = attempt_of(os.environ.get("TALLY_ARGO_NODE", ""))
        if counts_lives:
            first, untold = _life(run_id, name, first)
        os.environ["TALLY_ATTEMPT"] = str(first)
    attempt = int(os.environ["TALLY_ATTEMPT"])
    os.environ.setdefault("TALLY_PIPELINE", "train")
    recorder = Recorder()
    outbox = None if submit else _outbox(run_id)
    here = Step(name, run_id, attempt, folder, recorder, in_pod=not submit, outbox=outbox)
    held = float(os.cpu_count() or 1) if cores is None else cores
    pid, begun = os.getpid(), clock.now_microseconds()
    started = min(started_microseconds(pid), begun)
    own = functools.partial(
        local_usage, step=name, worker="", pid=pid, container="step", cores=held
    )
    start_up = own(phase=here.start_phase, start=started)
    work = own(phase="work", start=begun)
    recorder.close(recorder.open(start_up, pid), begun)
    recorder.open(work, pid)
    code = 1
    try:
        here.event("step_started")
        if untold:
            here.event("note", message=untold)
        userfile.unpack()
        endpoints.use_first_there()
        yield here
        here.event("step_ended", tensorflow_imported="tensorflow" in sys.modules)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except TallyError as error:
        code = _failed(here, str(error), error.exit_code)
    except BaseException as error:
        traceback.print_exc()
        remedy = f"see `make logs RUN={run_id} STEP={name}`" if submit else "see its pod's log"
        code = _failed(here, f"{name}: {type(error).__name__}: {error}; {remedy}", 1)
    finally:
        recorder.close(work, clock.now_microseconds())
        recorder.stop()
    if recorder.error is not None and code == 0:
        code = _failed(here, f"{name}: usage could not be written: {recorder.error}", 1)
    if outbox is not None:
        seconds = _TERMINATED_OUTBOX_SECONDS if code == TERMINATED else OUTBOX_SECONDS
        if missing := outbox.close(seconds):
            print(missing, file=sys.stderr, flush=True)
    if code:
        sys.exit(code)


def _life(run_id: str, name: str, first: int) -> tuple[int, str]:
    """Which life of the step this pod is, and what went wrong in finding out."""
    uid = os.environ.get("TALLY_POD_UID")
    if not uid or not os.environ.get("TALLY_STORE"):
        return first, ""
    from tally.steps import lives

    try:
        endpoints.use_first_there()
        return lives.count(run_id, name, uid), ""
    except (TallyError, OSError) as error:
        return first, f"which life of {name} this is was not found ({error}); it counts as {first}"


def attempt_of(argo_node: str) -> int:
    """Which life of a step its Argo node is: 1, and one more for each time it was begun anew.

    Args:
        argo_node: as Argo names it, "cnn-x(0).root(0).exit-handler-1(0).train(0).executor(1)".
    """
    return 1 + sum(int(count) for count in re.findall(r"\((\d+)\)", argo_node))


def _outbox(run_id: str) -> "Outbox | None":
    """To the meter, where there is one; what that takes is imported only then."""
    if not os.environ.get("TALLY_METER_URL"):
        return None
    from tally.steps.outbox import Outbox

    return Outbox(run_id)


def _terminate(number: int, frame: FrameType | None) -> None:
    sys.exit(TERMINATED)


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
