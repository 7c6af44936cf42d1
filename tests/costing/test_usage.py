"""Rows of one pod, in the order in which it lived them."""

import itertools

from helpers.costing.histories import row
from tally.costing.usage import Usage, in_order_of_life


def test_phases_of_one_second_are_in_the_order_of_a_life() -> None:
    life = [row(5, 5, phase="queue"), row(5, 5, phase="startup"), row(5, 9, phase="work")]
    lives: list[list[Usage]] = [
        life,
        [*life[:2], row(5, 5, phase="work")],  # all of it within a second
        [row(3, 5, phase="queue"), *life[1:], row(9, 12, phase="restart"), row(12, 15)],
    ]
    for lived in lives:
        for told in itertools.permutations(lived):
            assert in_order_of_life(told) == lived
