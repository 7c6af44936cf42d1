"""What one pod used over its life: what the next one like it is sized by. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """One pod's life, as the ledger tells it.

    Attributes:
        step: of which pipeline is asked for.
        is_worker: of a gang, which its conductor told of; else the pod of the step itself.
        ended_at_microseconds: UTC; or when it was last heard of.
        work_seconds: of its containers.
        cpu_request_cores: asked for.
        cpu_core_seconds: used in work_seconds.
        memory_peak_bytes: the most that was seen; 0 where nobody looked.
        oom_limit_bytes: its limit, where it was killed for exceeding that; else 0.
    """

    step: str = ""
    is_worker: bool = False
    ended_at_microseconds: int
    work_seconds: float
    cpu_request_cores: float = 0.0
    cpu_core_seconds: float
    memory_peak_bytes: int
    oom_limit_bytes: int = 0
