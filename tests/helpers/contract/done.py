"""A command of `tally` that has ended, and what it should have said."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str


def one_line(done: Done, code: int, *words: str) -> None:
    assert done.code == code, done.err
    assert len(done.err.splitlines()) == 1, done.err
    for word in words:
        assert word in done.err
