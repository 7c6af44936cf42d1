"""Step times out of closed forms and data sheets: what is believed before anything is measured.

Pure. A pass is the larger of its operations over the machine's and of its traffic over the
memory's, whatever is launched beside it; a sum over workers moves the gradients round a ring.
"""

from dataclasses import replace

from tally.machines import throughput as listed
from tally.machines.throughput import Throughput
from tally.models.flops import ModelCost
from tally.models.memory import NUMBER_BYTES, update_bytes
from tally.scaling.stepmodel import StepTime, grad_seconds

UNKNOWN_STEP_SECONDS = 0.01  # of a user's own model at UNKNOWN_EXAMPLES, which has no closed form
UNKNOWN_EXAMPLES = 32


def listed_step(cost: ModelCost | None, machine: Throughput, optimiser: str = "adam") -> StepTime:
    """The step time of a model on a machine.

    Args:
        cost: of the model; None for one without closed forms.
        machine: its throughput.
        optimiser: as tally.models.memory knows it.
    """
    if cost is None:
        half = UNKNOWN_STEP_SECONDS / 2
        return StepTime(grad_base_seconds=half, grad_example_seconds=half / UNKNOWN_EXAMPLES)
    outputs = sum(_numbers(layer.output_shape) for layer in cost.layers)
    by_flops = cost.train_flops / machine.flops_per_second
    by_traffic = 4 * outputs * NUMBER_BYTES / machine.bytes_per_second
    update = update_bytes(cost, optimiser) / machine.bytes_per_second
    gradients = cost.parameters * NUMBER_BYTES

    def summed(seconds: float, rate: float) -> tuple[float, float]:
        """A ring of k moves 2 (k - 1) / k of the gradients: as much as two workers and (1 - 2 / k)
        of it more."""
        return seconds + gradients / rate, gradients / rate

    base, growing = summed(listed.NODE_SECONDS, listed.NODE_BYTES_PER_SECOND)
    across, growing_across = summed(listed.NETWORK_SECONDS, listed.NETWORK_BYTES_PER_SECOND)
    return StepTime(
        grad_base_seconds=machine.step_seconds + update,
        grad_example_seconds=max(by_flops, by_traffic),
        sync_base_seconds=base,
        sync_growth_seconds=growing,
        sync_nodes_base_seconds=across,
        sync_nodes_growth_seconds=growing_across,
    )


def _numbers(shape: tuple[int, ...]) -> int:
    found = 1
    for side in shape:
        found *= side
    return found


def changes(cost: ModelCost | None, machine: Throughput, examples: float) -> dict[str, float]:
    """By how much a step's time changes with a smaller model or a simpler optimiser.

    Args:
        cost: of the model; nothing is known of one without closed forms.
        machine: its throughput.
        examples: of a worker a step.
    """
    if cost is None:
        return {}
    smaller = ModelCost(
        tuple(
            replace(
                layer,
                parameters=layer.parameters // 2,
                forward_flops=layer.forward_flops // 2,
                backward_flops=layer.backward_flops // 2,
            )
            for layer in cost.layers
        )
    )
    now = grad_seconds(listed_step(cost, machine), examples)
    return {
        "a model of half the size": grad_seconds(listed_step(smaller, machine), examples) / now,
        "SGD instead of Adam": grad_seconds(listed_step(cost, machine, "sgd"), examples) / now,
    }
