"""The dataset of a run that is to be quoted, before there is a run.

A file of the user's own is run in a process of its own, `python -m tally.runs.preparing`: what it
prints and what it breaks stays there.
"""

import json
import subprocess
import sys
from pathlib import Path

from tally.baselines import registry as baselines
from tally.data import registry as datasets
from tally.data.format import Dataset, open_dataset
from tally.errors import DataError, RunError, TallyError
from tally.models import registry as models
from tally.spec import Spec
from tally.userfile import is_user_file

_LAST = "\ntally: "


def prepared(spec: Spec) -> Dataset:
    """The dataset that the run will train on, as its prepare step will find it.

    Raises:
        DataError: it cannot be read, or does not fit the model.
        SpecError: a parameter that does not suit it; RunError: the disk is full.
    """
    folder = _apart(spec) if is_user_file(spec.dataset) else datasets.prepare(spec)[0]
    dataset = open_dataset(folder)
    models.check(spec.model, dataset.meta)
    baselines.check(spec.baseline, dataset.meta)
    return dataset


def _apart(spec: Spec) -> Path:
    done = subprocess.run(
        [sys.executable, "-m", "tally.runs.preparing"],
        input=spec.model_dump_json(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    _, found, line = done.stdout.rpartition(_LAST)
    if not found:
        words = " ".join(done.stderr.split())[-300:]
        raise DataError(
            f"{spec.dataset}: expected dataset() to return, got exit code {done.returncode}: "
            f"{words}; try it in Python"
        )
    said = json.loads(line)
    if message := said.get("failed"):
        raise (DataError if said["exit_code"] == 2 else RunError)(message)
    return Path(said["folder"])


def main() -> int:
    """Prepare what the spec on the input asks for, and say where it is."""
    spec = Spec.model_validate_json(sys.stdin.read())
    said: dict[str, str | int]
    try:
        said = {"folder": str(datasets.prepare(spec)[0])}
    except TallyError as error:
        said = {"failed": str(error), "exit_code": error.exit_code}
    print(_LAST + json.dumps(said))
    return 0


if __name__ == "__main__":
    sys.exit(main())
