"""A worker that was killed for its memory: the gang begins once more with more of it, once."""

from tally.errors import RunError, TallyError
from tally.gang.gang import Gang, WorkerChange
from tally.steps.step import Step

REMEDY = 'take a larger machine type (SET="machine_type=…") or a smaller batch_size'
_MEBIBYTE = 1 << 20


def give_more(here: Step, gang: Gang, change: WorkerChange, workers: int, enlarged: int) -> int:
    """Start workers with more memory in place of those of which one was killed for it.

    The others train on until the new ones have taken the state; none else is lost.

    Args:
        here: the train step, whose events say so.
        gang: in which it was killed.
        change: its end.
        workers: how many there are to be.
        enlarged: what each has had since the first such end, bytes; 0 before.

    Returns:
        What each has now, bytes; 0 where there is no more to give.

    Raises:
        RunError: they have had more already.
    """
    had = change.memory_limit_bytes
    if enlarged:
        raise RunError(
            f"train: expected worker {change.worker} to fit into {_mebibytes(enlarged)} of memory, "
            f"which it got after a first OOM kill, got {change.reason}; {REMEDY}, then "
            f"`make resume RUN={here.run_id}` goes on from the last checkpoint"
        )
    try:
        more = gang.enlarge(workers)
    except TallyError as error:
        here.event("note", message=str(error))
        return 0
    if more:
        words = f"worker {change.worker} ended: {change.reason}; once, its gang gets "
        here.event("note", message=f"{words}{_mebibytes(more)} a worker instead")
        here.event("enlarged", worker=change.worker, memory_bytes=more, before_bytes=had)
    return more


def _mebibytes(count_bytes: int) -> str:
    return f"{count_bytes // _MEBIBYTE} MiB"
