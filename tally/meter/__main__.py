"""`python -m tally.meter`: the meter; all that it is told stands in its environment."""

import asyncio
import logging
import os
import sys

from tally.errors import TallyError
from tally.meter.service import serve, settings_of


def main() -> int:
    """Run it; its exit code."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s: %(message)s")
    logging.getLogger("tally").setLevel(logging.INFO)
    logging.getLogger("kopf").setLevel(logging.ERROR)
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(serve(settings_of(os.environ)))
    except TallyError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)  # a thread that waits for the ledger's lock would hold up the end
