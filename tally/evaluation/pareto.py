"""Which candidates are worth a look: those that no other is at least as good as in both: pure."""

from collections.abc import Sequence


def front(accuracies: Sequence[float], costs: Sequence[float]) -> list[bool]:
    """Whether each is on the front: none is as accurate at less cost, or better at no more.

    Args:
        accuracies: the more the better.
        costs: bytes, seconds or dollars: the less the better.
    """
    pairs = list(zip(accuracies, costs, strict=True))
    return [
        not any(
            (a >= accuracy and c < cost) or (a > accuracy and c <= cost)
            for a, c in pairs
        )
        for accuracy, cost in pairs
    ]  # fmt: skip
