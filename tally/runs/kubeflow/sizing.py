"""What a pipeline's steps ask for, from what its past runs used, where a meter knows them."""

import functools
from collections.abc import Callable, Mapping

from tally import clock
from tally.errors import TallyError
from tally.kube.manifests import label_value
from tally.meterclient import MeterClient
from tally.runs.compiled import Sizes
from tally.runs.tasks import usual
from tally.scaling.rightsizing import REMEMBERED_SECONDS, Requests, right_size

ASKING_SECONDS = 5.0


def sizes_of(namespace: str, say: Callable[[str], None]) -> Sizes:
    """Asks the meter of TALLY_METER_URL, once and not for long; without one all is as usual.

    Args:
        namespace: of the runs.
        say: a line about what is not as usual, and why.
    """
    return functools.partial(_sizes, namespace, say)


def _sizes(namespace: str, say: Callable[[str], None], pipeline: str) -> Mapping[str, Requests]:
    now = clock.now_microseconds()
    since = now - round(REMEMBERED_SECONDS * 1e6)
    try:
        client = MeterClient.from_environment()
        if client is None:
            return {}
        label = label_value(pipeline)
        lives = client.lives(label, since, namespace, seconds=ASKING_SECONDS)
    except TallyError as error:
        say(f"steps ask for the usual CPU and memory: {error}")
        return {}
    own = [life for life in lives if not life.is_worker]
    found, told = {}, []
    for step in sorted({life.step for life in own}):
        size = right_size([life for life in own if life.step == step], usual(step), now)
        if size.reason:
            found[step] = size
            told.append(f"{step} {size.words} (usual {usual(step).words}; {size.reason})")
    if told:
        say(f"asked for by past runs: {', '.join(told)}")
    return found
