"""Which run a process works for, and where: read once, as the process begins, and handed on.

    TALLY_RUN_ID, TALLY_PIPELINE, TALLY_ATTEMPT   whose it is
    TALLY_SUBMIT_PID                              of a run on this machine: what it must not outlive
    TALLY_POD                                     of a run on a cluster: the step's own pod
    TALLY_POD_UID, TALLY_ARGO_NODE                which life of the step that is
    TALLY_GANG                                    local: in a pod, too, workers are processes

`submit` says the first four to all processes of a run, a compiled pipeline what it knows to the
pods of its steps. What Kubernetes itself puts into every pod says nothing here: a notebook's has it
too, and what is submitted there runs there.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tally import clock, storage
from tally.errors import SpecError


@dataclass(frozen=True, kw_only=True)
class RunContext:
    """A run, and what of it this process is.

    Attributes:
        run_id, pipeline: whose.
        attempt: which life of the run, on a cluster of the step, from 1.
        folder: of the run on this machine; nothing has made it yet.
        submit_pid: the process that owns the run; 0 on a cluster, which has none.
        in_pod: it is a step's pod on a cluster, and the step's workers are pods like it.
        pod_uid: of a pod whose attempt is only what Argo counted, "" elsewhere.
    """

    run_id: str
    pipeline: str
    attempt: int
    folder: Path
    submit_pid: int = 0
    in_pod: bool = False
    pod_uid: str = ""

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> "RunContext":
        """What the environment of a process says.

        Raises:
            SpecError: it is of no run, or has no number where one belongs.
        """
        run_id = environment.get("TALLY_RUN_ID")
        if not run_id:
            raise SpecError(
                "TALLY_RUN_ID: expected the id of the run that this process works for, got none; "
                "set it, or begin a run by `make submit`"
            )
        attempt = _number(environment, "TALLY_ATTEMPT")
        submit_pid = _number(environment, "TALLY_SUBMIT_PID")
        with_pods = bool(environment.get("TALLY_POD")) and environment.get("TALLY_GANG") != "local"
        return cls(
            run_id=run_id,
            pipeline=environment.get("TALLY_PIPELINE", "train"),
            attempt=attempt or attempt_of(environment.get("TALLY_ARGO_NODE", "")),
            folder=storage.home_path(environment) / "runs" / run_id,
            submit_pid=submit_pid,
            in_pod=with_pods and not submit_pid,
            pod_uid="" if attempt else environment.get("TALLY_POD_UID", ""),
        )

    def environment(self) -> dict[str, str]:
        """What processes of the run on this machine are told: `read` of it is this again."""
        return {
            "TALLY_RUN_ID": self.run_id,
            "TALLY_PIPELINE": self.pipeline,
            "TALLY_ATTEMPT": str(self.attempt),
            "TALLY_SUBMIT_PID": str(self.submit_pid),
            "TALLY_HOME": str(self.folder.parent.parent),
            clock.ENVIRONMENT: str(clock.OFFSET_MICROSECONDS),
        }

    @property
    def on_cluster(self) -> bool:
        """Whether a cluster began this process: there is no submit, and its disk goes with it."""
        return not self.submit_pid


def _number(environment: Mapping[str, str], name: str) -> int:
    """A whole number of the environment; 0 for none."""
    given = environment.get(name) or "0"
    if not (given.isascii() and given.isdigit()):
        raise SpecError(f'{name}: expected a whole number, got "{given}"; correct it or unset it')
    return int(given)


def attempt_of(argo_node: str) -> int:
    """Which life of a step its Argo node is: 1, and one more for each time it was begun anew.

    Args:
        argo_node: as Argo names it, "cnn-x(0).root(0).exit-handler-1(0).train(0).executor(1)".
    """
    return 1 + sum(int(count) for count in re.findall(r"\((\d+)\)", argo_node))
