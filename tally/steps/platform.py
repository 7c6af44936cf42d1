"""What a run on a cluster takes beside its training, where no earlier run tells it."""

from tally.baselines import registry as baselines
from tally.costing import overheads
from tally.costing.quote import Others, Range, symmetric
from tally.machines import throughput as listed
from tally.machines.shares import OPENCOST
from tally.steps import candidates, sizes
from tally.steps.asked import Asked

PLATFORM_SECONDS = 15.0  # that Kubeflow takes for each step, whatever it does (measured: 13 to 20)
WORKERS_SECONDS = 20.0  # until the pods of a gang train, where their nodes and images are there
_STEP_CORES, _STEP_GIB = 0.5, 2.0  # that each step's pod asks for
_SPREAD = 0.5  # of what is only known from other clusters


def start(workers: int) -> Range:
    """Seconds until a gang of pods trains, however many start at once."""
    return symmetric(WORKERS_SECONDS, _SPREAD)


def others(asked: Asked) -> Others:
    """The four steps beside training, each with Kubeflow's own time, and the conductor's start."""
    spec, dataset = asked.spec, asked.dataset
    alone = sizes.timing(spec, dataset, listed.of_cores(_STEP_CORES, None), {}, here=False)
    step, _ = alone.step(spec, 1, nodes=1)
    beside = baselines.missing_seconds(spec.baseline, dataset)
    examples = len(dataset.splits["train"])
    evaluate = candidates.usual_seconds(spec, examples, step.expected, beside)
    usual = overheads.USUAL_SECONDS
    hourly = _STEP_CORES * OPENCOST.cpu_usd_per_core_hour
    hourly += _STEP_GIB * OPENCOST.memory_usd_per_gib_hour
    before = 3 * PLATFORM_SECONDS + usual["prepare"] + usual["plan"]
    after = 2 * PLATFORM_SECONDS + evaluate + usual["bill"]
    return Others(
        before=symmetric(before, _SPREAD),
        after=symmetric(after, _SPREAD),
        usd_per_hour=hourly,
        software_usd_per_hour=0.0,
        value_of_hour_usd=asked.value_of_hour_usd,
    )
