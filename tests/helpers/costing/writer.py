"""A process that writes usage until it is told to stop or killed: NAME BATCHES ROWS.

Prints a batch's number once it is committed. With a fourth argument the batches of all writers are
the same rows, else each has rows of its own.
"""

import resource
import signal
import sys

from helpers.costing.histories import row
from tally.costing.ledger import open_ledger
from tally.errors import TallyError


def main(name: str, batches: int, rows: int, same: str = "") -> None:
    ledger = open_ledger()
    for batch in range(batches):
        who = "same" if same else name
        ledger.write_usage(
            row(batch * 1000 + n, batch * 1000 + n + 1, run_id=who, pod_uid=f"{who}:{batch}:{n}")
            for n in range(rows)
        )
        print(batch, flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "small-disk":  # files of at most so many bytes, as on a disk that fills up
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
    try:
        main(sys.argv[1], *map(int, sys.argv[2:4]), *sys.argv[4:])
    except TallyError as error:
        print(f"{type(error).__name__}|{error}", file=sys.stderr)
        sys.exit(error.exit_code)
