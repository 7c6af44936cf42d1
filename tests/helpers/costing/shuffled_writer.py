"""A meter that writes the same pods as others do, in an order of its own: PODS ROUNDS SEED.

Each round is one transaction in which every pod is heard of a second later; the last ends them.
"""

import random
import sys

from helpers.costing.clusters import SECOND, a_pod
from tally.costing.ledger import open_ledger
from tally.errors import TallyError


def main(pods: int, rounds: int, seed: int) -> None:
    chance = random.Random(seed)
    numbers = list(range(pods))
    ledger = open_ledger()
    for heard in range(1, rounds + 1):
        chance.shuffle(numbers)
        end = heard if heard == rounds else None
        ledger.write_usage(
            a_pod(0, end, f"pod-{n}", heartbeat_at_microseconds=heard * SECOND) for n in numbers
        )


if __name__ == "__main__":
    try:
        main(*map(int, sys.argv[1:4]))
    except TallyError as error:
        print(f"{type(error).__name__}|{error}", file=sys.stderr)
        sys.exit(error.exit_code)
