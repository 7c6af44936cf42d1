"""What a gang's workers ask for where they have no machine type: what past ones needed."""

from tally import clock
from tally.errors import TallyError
from tally.kube.manifests import label_value
from tally.scaling.rightsizing import REMEMBERED_SECONDS, WORKER, Requests, right_size
from tally.steps.metering import required_client
from tally.steps.step import Step

ASKING_SECONDS = 5.0


def worker_size(here: Step, machine_type: str) -> Requests:
    """The requests of each worker, asked of the meter once; the usual where it cannot say.

    Args:
        here: the train step, whose events say what was chosen and why.
        machine_type: "" for none; else a worker has such a machine to itself.
    """
    if machine_type or here.outbox is None:
        return WORKER
    now = clock.now_microseconds()
    since = now - round(REMEMBERED_SECONDS * 1e6)
    try:
        lives = required_client().lives(label_value(here.pipeline), since, seconds=ASKING_SECONDS)
    except TallyError as error:
        here.event("note", message=f"workers ask for the usual {WORKER.words}: {error}")
        return WORKER
    # with a machine type they had another number of threads
    alike = [life for life in lives if life.cpu_request_cores <= WORKER.cpu_limit_cores]
    own = [life for life in alike if life.is_worker and life.step == here.name]
    size = right_size(own, WORKER, now)
    if size.reason:
        here.event("note", message=f"each worker asks for {size.words}: {size.reason}")
    return size
