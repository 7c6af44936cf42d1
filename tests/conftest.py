"""Every test has a home of its own; a test without its system program is skipped aloud."""

import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = ["helpers.recording"]
REMEDY = "make test-deps (Debian, root)"
_all = os.environ.get("TALLY_REQUIRE_ALL", "") not in ("", "0")
_seed = int(os.environ.get("TALLY_SEED") or secrets.randbits(31))
# what `make` hands to the command line: a person's RUN or BY would be read by the tests' commands
_OF_MAKE = {
    "ACCOUNT", "ACCURACY", "AGAIN", "BY", "CRON", "CSV", "DATA", "DURATION_SECONDS", "ENGINE",
    "FORMAT", "JSON", "MACHINE", "METER_URL", "MODEL", "NAMESPACE", "OUT", "PIPELINE", "PROBE",
    "RANGE", "RUN", "SET", "SINCE", "STEP", "TO", "UNTIL", "WORKERS", "YES",
}  # fmt: skip
_missing: dict[str, int] = {}
# How fast a busy machine makes examples is no failure; nor is which examples happen to be drawn:
# they are the same each time but in the stage `properties`, which draws them anew.
settings.register_profile(
    "unhurried",
    deadline=None,
    derandomize=not os.environ.get("TALLY_FRESH"),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("unhurried")


@pytest.fixture(autouse=True)
def tally_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh TALLY_HOME; nothing else of the person who runs the tests is seen, nor a cluster."""
    for name in list(os.environ):
        own = name.startswith(("TALLY_", "KFP_")) or name in _OF_MAKE
        if own and name != "TALLY_REQUIRE_ALL":
            monkeypatch.delenv(name)
    home = tmp_path / "home"
    monkeypatch.setenv("TALLY_HOME", str(home))
    return home


@pytest.fixture(scope="session")
def fresh_seed() -> int:
    """Drawn anew for each session, or TALLY_SEED; a failure shows it."""
    print(f"TALLY_SEED={_seed}")
    return _seed


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("program"):
        name = marker.args[0]  # a program on PATH, or the absolute path of a file or folder
        if not (Path(name).exists() if name.startswith("/") else shutil.which(name)):
            item.user_properties.append(("missing program", name))
            pytest.skip(f"{name} is missing: {REMEDY}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Under TALLY_REQUIRE_ALL=1 a skip, whatever its reason, is a failure."""
    report = yield
    if _all and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid}: skipped under TALLY_REQUIRE_ALL=1: {reason}"
    return report


@pytest.hookimpl(tryfirst=True)  # before it is told or sent to anybody
def pytest_collectreport(report: pytest.CollectReport) -> None:
    if _all and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid}: skipped under TALLY_REQUIRE_ALL=1: {report.longrepr}"


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Called where the summary is printed, too, with what pytest-xdist's processes ran."""
    for key, name in report.user_properties:
        if key == "missing program" and report.when == "setup":
            _missing[name] = _missing.get(name, 0) + 1


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _missing:
        terminalreporter.section("programs missing", yellow=True)
        for name, tests in sorted(_missing.items()):
            terminalreporter.line(f"{name}: {tests} test(s) not run; remedy: {REMEDY}")
