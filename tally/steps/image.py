"""Whether this pod's image is the one that the pipeline was compiled for."""

import json
import os
import sys

from tally import content
from tally.errors import SpecError
from tally.runcontext import RunContext

_OUTBOX_SECONDS = 5.0


def require(name: str) -> None:
    """End this step at once where the image was made of other sources.

    What a step else imports is not: it may not even fit the component's code.

    Args:
        name: of the step.

    Raises:
        SystemExit: it was; both contents are told as a step tells why it failed.
    """
    try:
        content.require_expected()
    except SpecError as error:
        failed = {"message": str(error), "exit_code": error.exit_code}
        print(json.dumps({"step": name, "event": "failed", **failed}), flush=True)
        print(error, file=sys.stderr, flush=True)
        _tell_meter(name, failed)
        sys.exit(error.exit_code)


def _tell_meter(name: str, failed: dict[str, object]) -> None:
    if not os.environ.get("TALLY_METER_URL"):
        return
    from tally.steps.outbox import Outbox

    outbox = Outbox(RunContext.read().run_id)
    outbox.happened("failed", name, failed)
    if missing := outbox.close(_OUTBOX_SECONDS):
        print(missing, file=sys.stderr, flush=True)
