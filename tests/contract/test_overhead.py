"""What watching costs: requests a second, of a large run too."""

import copy
import io
import itertools
import time
from typing import Any

import pytest
from rich.console import Console

from helpers.contract.recordings import answer_of
from helpers.contract.replay import Replay
from tally.runs.kubeflow.connection import connect
from tally.runs.kubeflow.settings import Settings
from tally.runs.kubeflow.showing import Lines, Rows
from tally.runs.kubeflow.steps import steps
from tally.runs.kubeflow.watching import watch

STEPS = 200
LOOKS = 5


def large_run(done: int) -> dict[str, Any]:
    """A run of 200 steps, `done` of them ended and one at work, in the recorded shape."""
    rows = answer_of("14-get-run-succeeded")["run_details"]["task_details"]
    mine = [row for row in rows if (row.get("display_name") or "").startswith("train")]
    both = [row for row in rows if (row.get("display_name") or "").startswith("executor")][:2]
    nameless = [row for row in rows if not row.get("display_name")][:1]
    details = []
    for number in range(done + 1):
        for row in copy.deepcopy(mine + both + nameless):
            if "display_name" in row:
                row["display_name"] = row["display_name"].replace("train", f"step-{number}")
            if number == done:
                row.update(state="RUNNING", end_time="0001-01-01T00:00:00Z")
            details.append(row)
    return {"state": "RUNNING", "run_details": {"task_details": details}}


@pytest.mark.timing
@pytest.mark.slow
@pytest.mark.parametrize("shown", [Lines, Rows])
def test_a_run_of_200_steps_is_kept_up_with_at_one_request_a_second(
    replay: Replay, shown: type[Lines] | type[Rows]
) -> None:
    names = [f"step-{number}" for number in range(STEPS)]
    replay.runs["11111111-1111-4111-8111-111111111111"] = {"run_id": "x"}
    replay._left["11111111-1111-4111-8111-111111111111"] = ["14-get-run-succeeded"]

    def looked(server: Replay) -> None:
        look = server.seen["GET runs/*"]
        server.synthetic = large_run(look * STEPS // LOOKS - 1)
        if look >= LOOKS:
            server.synthetic["state"] = "SUCCEEDED"

    looked(replay)
    replay.looked = looked
    text = io.StringIO()
    drawn = shown(Console(file=text, force_terminal=shown is Rows, width=120))
    connection = connect(Settings(replay.host))
    began, cpu = time.monotonic(), time.process_time()
    last = watch(connection, "11111111-1111-4111-8111-111111111111", names, drawn, dict)
    drawn.close()
    took, cpu = time.monotonic() - began, time.process_time() - cpu
    looks = [at for at, route in replay.at if route == "GET runs/*"]
    gaps = [after - before for before, after in itertools.pairwise(looks)]
    print(f"{len(looks)} requests in {took:.2f} s, {cpu / len(looks):.3f} CPU seconds each, "
          f"gaps {min(gaps):.3f} to {max(gaps):.3f} s")  # fmt: skip
    assert min(gaps) > 0.99  # at most one a second
    assert took < 5 * LOOKS  # and not much less
    assert sum(step.ended for step in steps(last, names)) == STEPS
    assert "step-150" in text.getvalue() or shown is Rows
