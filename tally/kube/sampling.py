"""What a container used, from a counter that is read now and then. Pure.

The kubelet's resource metrics give a container's CPU time since its start as a counter, and its
working set as it was at that moment, each with a time of its own, every 15 seconds or so. So CPU is
whole up to the last sample, whoever was away meanwhile, and only what is after it is estimated: at
the rate between the last two samples, which is nearer to what a container does at its end than the
mean of its life is; after one sample alone, at the mean since its containers' own starts, which
leaves out how long their images were pulled. A mean over less than 2 s is no rate: a program that
starts keeps a core busy for a moment, and then waits; and of two samples so near to one another the
first can be of the containers and the second of the pod's own cgroup, which has what its init
containers used too. Memory is taken as straight from sample to
sample, and as level before the first and after the last.
"""

from dataclasses import dataclass, replace

TRUNCATED_MICROSECONDS = 500_000
"""Kubernetes cuts the time of an end to whole seconds: on average it was half a second later."""

LEAST_SECONDS = 2.0
"""That a mean must be over to be a rate."""

ONE_LOOK_SECONDS = 2.0
"""A pod's cgroup and its containers' are read one after the other: a counter that is a little lower
so soon after is the other of the two, and no restart."""


@dataclass(frozen=True, slots=True)
class PodSample:
    """One look at a pod: at its own cgroup, or at its containers' where that says more.

    Attributes:
        namespace, name: of the pod.
        at_microseconds: when the kubelet looked, UTC on the node's clock.
        cpu_core_seconds: used since the pod began.
        working_set_bytes: of memory held then.
        rate_cores: of the containers that run, each in the mean since its own start; None where
            that is not told, or all are too young to have one.
    """

    namespace: str
    name: str
    at_microseconds: int
    cpu_core_seconds: float
    working_set_bytes: float
    rate_cores: float | None = None


@dataclass(frozen=True, slots=True)
class Samples:
    """What is known of one container from its samples so far.

    Attributes:
        first_at_microseconds, at_microseconds: of the first and the last sample, UTC.
        counter_core_seconds: the last reading.
        cpu_core_seconds: used up to the last sample, from the container's start; over a restart of
            it, all that was read.
        rate_cores: used between the last two samples that were far enough apart; before there are
            two what came with the first, or None.
        memory_byte_seconds: held between the first and the last sample.
        first_working_set_bytes, working_set_bytes: in the first and the last sample.
        peak_working_set_bytes: the most in any sample: what was held for a moment between two is
            not in it.
    """

    first_at_microseconds: int
    at_microseconds: int
    counter_core_seconds: float
    cpu_core_seconds: float
    rate_cores: float | None
    memory_byte_seconds: float
    first_working_set_bytes: float
    working_set_bytes: float
    peak_working_set_bytes: float


@dataclass(frozen=True, slots=True)
class Used:
    """What was really used over a time."""

    cpu_core_seconds: float
    memory_byte_seconds: float
    memory_peak_bytes: int = 0


def seen(
    state: Samples | None,
    at_microseconds: int,
    cpu_core_seconds_total: float,
    working_set_bytes: float,
    rate_cores: float | None = None,
) -> Samples:
    """The state after one more sample of a container.

    A sample that is no newer than the last changes nothing: the kubelet answers with the same one
    until it has looked again. A counter that fell belongs to a restarted container: what it shows
    comes on top.

    Args:
        state: after the samples before; None for the first, also of a meter that has restarted.
        at_microseconds: the sample's own time, UTC.
        cpu_core_seconds_total: the counter. Of one container, or of a pod's own cgroup: in a sum
            over containers the restart of one would count the others twice.
        working_set_bytes: memory held at that moment.
        rate_cores: what containers that run used in the mean, where that is known.
    """
    if state is None:
        return Samples(
            at_microseconds, at_microseconds, cpu_core_seconds_total, cpu_core_seconds_total,
            rate_cores, 0.0, working_set_bytes, working_set_bytes, working_set_bytes,
        )  # fmt: skip
    seconds = (at_microseconds - state.at_microseconds) / 1e6
    gained = cpu_core_seconds_total - state.counter_core_seconds
    if seconds <= 0 or (gained < 0 and seconds < ONE_LOOK_SECONDS):
        return state
    told = gained >= 0 and seconds >= LEAST_SECONDS
    rate = gained / seconds if told else state.rate_cores
    if gained < 0:
        gained = cpu_core_seconds_total
    held = (state.working_set_bytes + working_set_bytes) / 2 * seconds
    return replace(
        state,
        at_microseconds=at_microseconds,
        counter_core_seconds=cpu_core_seconds_total,
        cpu_core_seconds=state.cpu_core_seconds + gained,
        rate_cores=rate,
        memory_byte_seconds=state.memory_byte_seconds + held,
        working_set_bytes=working_set_bytes,
        peak_working_set_bytes=max(state.peak_working_set_bytes, working_set_bytes),
    )


def used(state: Samples | None, start_microseconds: int, end_microseconds: int) -> Used | None:
    """What a container used from its start to its end, or to now while it lasts.

    Args:
        state: after all samples there were of it.
        start_microseconds: when the container started, UTC.
        end_microseconds: when it ended, as Kubernetes cut it to whole seconds, UTC.

    Returns:
        None for a container that ended before its first sample: what it asked for counts.
    """
    if state is None:
        return None
    head = max(0, state.first_at_microseconds - start_microseconds) / 1e6
    tail = max(0, end_microseconds + TRUNCATED_MICROSECONDS - state.at_microseconds) / 1e6
    rate = state.rate_cores
    if rate is None:
        life = max(0, state.at_microseconds - start_microseconds) / 1e6
        rate = state.cpu_core_seconds / life if life >= LEAST_SECONDS else 0.0
    return Used(
        cpu_core_seconds=state.cpu_core_seconds + rate * tail,
        memory_byte_seconds=state.memory_byte_seconds
        + state.first_working_set_bytes * head
        + state.working_set_bytes * tail,
        memory_peak_bytes=round(state.peak_working_set_bytes),
    )
