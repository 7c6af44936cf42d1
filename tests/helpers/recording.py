"""What the gate (scripts/gate) is told of a session: a line of JSON for all that happens.

`{"collected": [ids]}`, `{"started": id}` and, for each phase of a test, its result. A session that
is ended in the middle has told all up to there. Stacks are written when SIGUSR1 comes.
"""

import contextlib
import datetime
import faulthandler
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

RECORD = "TALLY_RECORD"
_NOT_STARTED = (OSError, pytest.fail.Exception)  # a deadline, a port, a process that did not start


def pytest_configure(config: pytest.Config) -> None:
    for marker in (
        "exact: of sums and order; where such a test says a wrong figure it is not run again",
        "quarantine(since, why): runs and cannot fail the gate; its cause is owed",
    ):
        config.addinivalue_line("markers", marker)
    path = os.environ.get(RECORD)
    if path is None:
        return
    # a file each: what several write at once into one cannot be read
    stacks = os.open(f"{path}.{os.getpid()}.stacks", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    faulthandler.register(signal.SIGUSR1, file=stacks, all_threads=True)
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Recording(Path(path)))


def quarantine(item: pytest.Item) -> dict[str, str]:
    """Since and why; empty where it is not in quarantine.

    Raises:
        ValueError: the mark does not say both.
    """
    mark = item.get_closest_marker("quarantine")
    if mark is None:
        return {}
    try:
        datetime.date.fromisoformat(mark.kwargs["since"])
        if mark.args or not mark.kwargs["why"]:
            raise ValueError
    except (KeyError, TypeError, ValueError):
        got = mark.args or mark.kwargs
        raise ValueError(
            f'expected quarantine(since="2026-11-30", why="…"), got {got}; say what is owed'
        ) from None
    return mark.kwargs


def pytest_runtest_setup(item: pytest.Item) -> None:
    try:
        quarantine(item)
    except ValueError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Iterator[pytest.TestReport]:
    """What only the process that ran it knows travels with the report."""
    report = yield
    if report.failed or report.when == "call":
        told: dict[str, Any] = {}
        if item.get_closest_marker("exact"):
            told["exact"] = call.excinfo is None or not isinstance(call.excinfo.value, _NOT_STARTED)
        with contextlib.suppress(ValueError):
            told["quarantine"] = quarantine(item)
        report.user_properties.append(("gate", told))
    return report


class Recording:
    """Writes the lines; on xdist's controller, where all workers' reports arrive."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8")

    def _tell(self, **line: Any) -> None:
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        if session.items:
            self._tell(collected=[item.nodeid for item in session.items])

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: Any, ids: list[str]) -> None:
        self._tell(collected=ids)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._tell(started=nodeid)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._tell(test=report.nodeid, when="collect", outcome="failed", text=_text(report))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        told = dict(report.user_properties).get("gate", {})
        text = _text(report) if report.failed else ""
        assert isinstance(told, dict)
        self._tell(
            test=report.nodeid, when=report.when, outcome=report.outcome,
            seconds=report.duration, text=text, **told,
        )  # fmt: skip


def _text(report: pytest.TestReport | pytest.CollectReport) -> str:
    parts = [f"{name}\n{content}" for name, content in report.sections if content.strip()]
    return "\n".join([*parts, report.longreprtext])
