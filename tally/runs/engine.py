"""The process that drives Kubeflow Pipelines' local runner for one attempt of one run.

`python -m tally.runs.engine`, started by submit as the leader of a session of its own:
every step and worker is in its process group, so that submit ends them with one signal.
"""

import json
import os
import signal
import sys
import threading

from tally import clock, lifeline
from tally.runcontext import RunContext


def main() -> int:
    """Run the pipeline that the run's run.json names; the exit code says whether it succeeded."""
    run, alone = RunContext.read(), threading.Event()
    lifeline.when_gone(run.submit_pid, lambda: _end_alone(run, alone))
    asked = json.loads((run.folder / "run.json").read_text())

    from kfp import local

    from tally.runs import pipelines

    pipeline = pipelines.load(asked["pipeline"])
    root = run.folder / "kfp" / f"attempt-{run.attempt}"
    local.init(runner=local.SubprocessRunner(use_venv=False), pipeline_root=str(root))
    try:
        pipeline(**asked["spec"])
    except RuntimeError as error:  # the step has told the reason in the run's events
        print(error, file=sys.stderr)
        if alone.is_set():
            signal.pause()  # until the thread that ends the run has ended this process
        return 1
    return 0


def _end_alone(run: RunContext, alone: threading.Event) -> None:
    """Submit was killed: end the steps, close their usage, say so in the ledger, end."""
    from tally.costing.ledger import open_ledger

    alone.set()
    lifeline.end_group(os.getpgrp())
    ledger = open_ledger()
    ledger.close_open_rows(run.run_id, run.attempt)
    ledger.update_run(
        run.run_id,
        state="interrupted",
        owner="",
        ended_at_microseconds=clock.now_microseconds(),
        error="submit was killed",
    )
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
