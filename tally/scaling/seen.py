"""What a run has shown, and what was decided on it. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tally.errors import SpecError
from tally.scaling.forecast import NoiseSeen
from tally.scaling.reasons import Leg, Stop
from tally.scaling.sizes import Size
from tally.scaling.stepfit import Fitted, Observation


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a run has shown so far.

    Attributes:
        fitted: the step model by machine type; a type without one is not considered.
        base_batch: M0 in examples; the global batch itself where the batch is fixed.
        remaining_progress_examples: in examples at the base batch, above 0.
        progress_examples: what is done of it, 0 or more.
        noise: measurements of the noise scale in this run, in order.
        noise_scale_examples: the present scale, for who keeps no history; counts while `noise` is
            empty.
        observed: by machine type, the steps that ran there, which correct the model.
        spent_usd: by all attempts.
        elapsed_seconds: since the run began.
        restart_seconds: what a change of size was measured to take.
        stop_seconds: from now until a stop that is ordered at the next decision has saved its
            checkpoint.
        now: the present size; None before the start.
        shards: virtual shards of a batch, which workers take whole; None: any part.
    """

    fitted: Mapping[str, Fitted]
    base_batch: int
    remaining_progress_examples: float
    progress_examples: float = 0.0
    noise: Sequence[NoiseSeen] = ()
    noise_scale_examples: float | None = None
    observed: Mapping[str, Sequence[Observation]] = field(default_factory=dict)
    spent_usd: float = 0.0
    elapsed_seconds: float = 0.0
    restart_seconds: float = 0.0
    stop_seconds: float = 0.0
    now: Size | None = None
    shards: int | None = None

    def __post_init__(self) -> None:
        if not (self.remaining_progress_examples > 0 and self.base_batch > 0):
            raise SpecError(
                "policy: expected progress that remains and a base batch above 0, got "
                f"{self.remaining_progress_examples:g} and {self.base_batch}; ask while it trains"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What to do now, and why.

    Attributes:
        size: to train at; the present one if nothing else pays.
        reason: in a few sentences with figures.
        predicted_seconds: until the end, restarts included.
        predicted_usd: from now until the end, hardware and software.
        saving_usd: against staying at the present size: dollars and, for `balanced`, the value of
            the hours; 0 if it stays or has not begun.
        saving_seconds: against staying.
        stop: which limit ends the run now.
        met: whether budget and deadline are expected to be kept.
        plan: the sizes from here to the end, each with its share of what remains.
    """

    size: Size
    reason: str
    predicted_seconds: float
    predicted_usd: float
    saving_usd: float
    saving_seconds: float
    stop: Stop | None
    met: bool
    plan: tuple[Leg, ...]
