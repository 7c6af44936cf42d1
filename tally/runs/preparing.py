"""The dataset of a run that is to be quoted, before there is a run, and a user's model with it.

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
from tally.errors import DataError, RunError, TallyError, UserCodeError
from tally.learning.tensorflow import environment
from tally.models import registry as models
from tally.spec import Spec
from tally.userfile import is_user_file

_LAST = "\ntally: "


def prepared(spec: Spec) -> Dataset:
    """The dataset that the run will train on, as its prepare step will find it.

    Raises:
        DataError: it cannot be read, or does not fit the model.
        SpecError: a parameter that does not suit it, or the user's file fails.
        RunError: the disk is full.
    """
    of_users = is_user_file(spec.dataset) or is_user_file(spec.model)
    folder = _apart(spec) if of_users else datasets.prepare(spec)[0]
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
        file = spec.dataset if is_user_file(spec.dataset) else spec.model
        raise DataError(
            f"{file}: expected its functions to return, got exit code {done.returncode}: "
            f"{words}; try them in Python"
        )
    said = json.loads(line)
    if story := said.get("story"):
        raise UserCodeError(said["failed"], story)
    if message := said.get("failed"):
        raise (DataError if said["exit_code"] == 2 else RunError)(message)
    return Path(said["folder"])


def main() -> int:
    """Prepare what the spec on the input asks for, build a user's model, and say where it is."""
    spec = Spec.model_validate_json(sys.stdin.read())
    said: dict[str, str | int]
    try:
        folder = datasets.prepare(spec)[0]
        if is_user_file(spec.model):
            environment.load_keras()
            models.build(spec.model, open_dataset(folder).meta)
        said = {"folder": str(folder)}
    except TallyError as error:
        said = {"failed": str(error), "exit_code": error.exit_code, "story": error.story}
    print(_LAST + json.dumps(said))
    return 0


if __name__ == "__main__":
    sys.exit(main())
