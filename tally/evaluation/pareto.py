"""Which candidates are worth a look: those that no other is at least as good as in both: pure."""

from collections.abc import Sequence


def front(values: Sequence[float], costs: Sequence[float]) -> list[bool]:
    """Whether each is on the front: none is as good at less cost, or better at no more.

    Args:
        values: the more the better.
        costs: bytes, seconds or dollars: the less the better.
    """
    pairs = list(zip(values, costs, strict=True))
    return [
        not any((v >= value and c < cost) or (v > value and c <= cost) for v, c in pairs)
        for value, cost in pairs
    ]
