"""Words from outside: one line, nothing that a terminal obeys, cut where a sentence ends."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tally.oneline import one_line


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("two\n lines\tand  more", "two lines and more"),
        ("\x1b[1;31mred\x1b[0m \x1b]0;title\x07and \x1b(plain", "red and (plain"),
        ("a\x00b\x9bc\u202ed", "a b c d"),
        ("", ""),
    ],
)
def test_it_is_one_plain_line(text: str, line: str) -> None:
    assert one_line(text, 100) == line


def test_a_long_one_ends_with_a_sentence_else_with_a_word() -> None:
    text = "The node was low on memory. The container was using more than it had asked for"
    assert one_line(text, 40) == "The node was low on memory. …"
    assert one_line(text, 21) == "The node was low on …"
    assert one_line(text, 20) == "The node was low …"
    assert one_line("0/1 nodes are available: 1 Insufficient cpu", 20) == "0/1 nodes are …"
    assert one_line("x" * 50, 10) == "x" * 9 + "…"


@given(st.text(max_size=80), st.integers(4, 60))
def test_it_never_says_more_than_there_is_room_nor_what_was_not_said(text: str, most: int) -> None:
    line = one_line(text, most)
    assert len(line) <= most
    assert line.isprintable()
    assert one_line(line, most) == line
