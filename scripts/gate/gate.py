"""What the stages of one gate share: whom they run as, where they write, how long it has been."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from gate.outcomes import Outcome, read
from gate.running import run
from gate.stages import PYTEST, Stage
from gate.user import User
from gate.verdict import Result, to_rerun

AGAIN_SECONDS = 420.0  # for all of them
AGAIN_MOST = 8  # three that pass are a failure already


@dataclass
class Gate:
    """Runs stages.

    Attributes:
        project: where stages run that need root.
        user: as whom and where the others do.
        folder: for what sessions record.
        seed: of the faults that are drawn anew.
    """

    project: Path
    user: User
    folder: Path
    seed: int
    began: float = field(default_factory=time.monotonic)
    stages: dict[str, Stage] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self.began

    def run(self, stage: Stage, seconds: float | None = None) -> Result:
        """One stage, until its own deadline or another."""
        self.stages[stage.name] = stage
        seconds = self.deadline(stage) if seconds is None else seconds
        record = self.folder / f"{len(list(self.folder.iterdir()))}.jsonl"
        record.touch()
        record.chmod(0o666)
        tree, prefix, given = self.user.tree, self.user.prefix, dict(self.user.environment)
        if stage.needs_root:
            tree, prefix, given = self.project, (), dict(os.environ)
        given |= {"TALLY_RECORD": str(record), "TALLY_SEED": str(self.seed), **stage.environment}
        if required := os.environ.get("TALLY_REQUIRE_ALL"):
            given["TALLY_REQUIRE_ALL"] = required
        print(f"\n=== {stage.name} (at most {seconds:.0f} s)", flush=True)
        ended = run(
            [*prefix, *stage.command], tree, given, seconds,
            record=record, stays=stage.stays,
        )  # fmt: skip
        outcomes = read(record.read_text(encoding="utf-8", errors="replace").splitlines())
        return Result(stage.name, ended.seconds, ended.code, outcomes, tail=ended.tail)

    def deadline(self, stage: Stage) -> float:
        """Twice what it usually takes; what it may take where its caches are not there."""
        if stage.stamp and not (self.user.tree / stage.stamp).exists():
            return stage.first_seconds
        return 2 * stage.usual_seconds

    def again(self, results: Sequence[Result]) -> None:
        """Run what failed once more, each test alone."""
        until = self.seconds + AGAIN_SECONDS
        for result, one in to_rerun(results)[:AGAIN_MOST]:
            if (left := until - self.seconds) <= 0:
                break
            tried = self.run(_alone(self.stages[result.stage], one), left)
            one.again = tried.code == 0 and bool(tried.having("passed"))


def _alone(stage: Stage, one: Outcome) -> Stage:
    command = (*stage.command[:1], one.test) if stage.needs_root else (*PYTEST, one.test)
    return replace(stage, name=f"again {one.test}", command=command)
