"""Whether the store can be listed from here: in a pod, `python -m tally.buckets.probing FILE`.

FILE gets the one line that is printed; in a pod, Kubernetes takes a container's last words there.
"""

import os
import sys
from pathlib import Path

from tally import storage
from tally.buckets import endpoints, kept
from tally.errors import RunError, TallyError
from tally.storage import Location

_SECONDS = 20.0


def probed() -> str:
    """Where the store is, once it has been listed as a step would reach it.

    Raises:
        TallyError: it cannot be.
    """
    endpoints.use_first_there()
    place = storage.store()
    _list(place)
    server = next(filter(None, map(os.environ.get, endpoints.NAMES)), "")
    at = f" at {server}" if server and not isinstance(place, Path) else ""
    return f"{place}{at} can be listed"


def _list(place: Location) -> None:
    if not isinstance(place, Path):
        kept.listed(place / "doctor", _SECONDS)  # nothing is there: one request
        return
    try:
        with os.scandir(place) as entries:
            next(entries, None)
    except OSError as error:
        raise RunError(
            f"{place}: expected a folder that can be listed, got '{error.strerror}'; check the "
            "volume of TALLY_STORE_CLAIM and its rights"
        ) from error


def main() -> None:
    """Say it, and exit with 0 where the store can be listed."""
    code = 0
    try:
        said = probed()
    except TallyError as error:
        said, code = str(error), error.exit_code
    print(said, flush=True)
    Path(sys.argv[1]).write_text(said, encoding="utf-8")
    sys.exit(code)


if __name__ == "__main__":
    main()
