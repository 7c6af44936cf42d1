"""On a terminal (a pty) the bar moves; under make the same."""

import os
import pty
import re
import select
import subprocess
import time
from pathlib import Path

import pytest

from helpers.command import TALLY


@pytest.mark.timing
@pytest.mark.slow
def test_the_bar_moves_at_least_twice_a_second(tally_home: Path) -> None:
    ours, theirs = pty.openpty()
    command = [*TALLY, "submit", "cnn", "--set", "epochs=6", "--set", "augment=4"]
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "120"}
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, close_fds=True
    )
    os.close(theirs)
    seen: list[tuple[float, str]] = []
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        readable, _, _ = select.select([ours], [], [], 1.0)
        try:
            text = os.read(ours, 65536).decode(errors="replace") if readable else ""
        except OSError:  # the other end is closed
            break
        seen.append((time.monotonic(), text))
    assert process.wait(10) == 0
    # distinct states of the training bar, by when each was first drawn
    drawn: dict[str, float] = {}
    for at, text in seen:
        for state in re.findall(r"train\b[^\r\n]*?loss [0-9.]+[^\r\n]*", text):
            drawn.setdefault(re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", state), at)
    times = sorted(drawn.values())
    assert len(times) > 6, "the bar of train was hardly drawn"
    assert (len(times) - 1) / (times[-1] - times[0]) >= 2
    assert "test accuracy" in "".join(text for _, text in seen)
