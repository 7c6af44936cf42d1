"""The gate, over small projects of its own: what fails, hangs, passes the second time."""

import datetime
import os
import sys
from pathlib import Path

import pytest
from gate.gate import Gate
from gate.outcomes import Outcome, read
from gate.screen import screen
from gate.stages import FULL, GATE, STAGES, Stage
from gate.user import User
from gate.verdict import Result, complaints

TESTS = Path(__file__).parents[1]
Ran = tuple[Result, str]
TODAY = datetime.date(2026, 11, 30)
GOOD = "def test_good():\n    pass\n"
BROKEN = "def test_broken():\n    print('said before')\n    assert 1 == 2\n"
SECOND = """
from pathlib import Path
def test_second():
    first = Path("was-here")
    if not first.exists():
        first.touch()
        raise AssertionError("the first time")
"""
EXACT = """
import pytest
@pytest.mark.exact
def test_sum():
    assert 0.1 + 0.2 == 0.3
@pytest.mark.exact
def test_late():
    raise TimeoutError("no server after 3 s")
"""
HELD = """
import pytest
@pytest.mark.quarantine(since="2026-11-20", why="a port is taken")
def test_held():
    assert False
"""
HANGING = "import time\ndef test_hanging():\n    time.sleep(600)\n"


def gate_of(folder: Path, **files: str) -> tuple[Gate, Stage]:
    """A gate over these test files, and its one stage."""
    project, records = folder / "project", folder / "records"
    records.mkdir()
    project.mkdir()
    (project / "conftest.py").write_text('pytest_plugins = ["helpers.recording"]\n')
    (project / "pytest.ini").write_text(
        f"[pytest]\npythonpath = {TESTS}\naddopts = --strict-markers\n"
    )
    for name, text in files.items():
        (project / f"test_{name}.py").write_text(text)
    (project / ".venv/bin").mkdir(parents=True)
    (project / ".venv/bin/python").symlink_to(sys.executable)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
    python = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider")
    gate = Gate(project, User(project, (), environment), records, 1)
    return gate, Stage("units", (*python, "-n", "1"), 60)


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, str]:
    """One of each, after what failed was run again, and the last screen."""
    unheld = HELD.replace('since="2026-11-20", ', "").replace("test_held", "test_unheld")
    hanging = HANGING.replace("def", "import pytest\n@pytest.mark.timeout(3)\ndef")
    gate, stage = gate_of(
        tmp_path_factory.mktemp("gate"), broken=BROKEN, exact=EXACT, hanging=hanging, held=HELD,
        second=SECOND, unheld=unheld, zood=GOOD,
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gate.gate.PYTEST", (sys.executable, "-m", "pytest"))
        results = [gate.run(stage)]
        gate.again(results)
    return results[0], screen(results, complaints(results, TODAY, is_full=False))


def test_what_is_broken_stays_red_and_its_end_is_on_the_screen(everything: Ran) -> None:
    result, text = everything
    assert result.outcomes["test_broken.py::test_broken"].again is False
    assert "FAILED test_broken.py::test_broken" in text
    assert "said before" in text
    assert "assert 1 == 2" in text
    assert text.splitlines()[-2:] == ["gate: units: 5 failed", "2 passed, 5 failed"]


def test_what_passes_the_second_time_is_flaky_and_no_failure(everything: Ran) -> None:
    result, text = everything
    assert "  FLAKY test_second.py::test_second" in text
    assert "test_second.py::test_second" not in [one.test for one in result.red]


def test_a_wrong_sum_is_not_run_again_but_a_server_that_did_not_start_is(everything: Ran) -> None:
    outcomes = everything[0].outcomes
    assert outcomes["test_exact.py::test_sum"].again is None
    assert outcomes["test_exact.py::test_late"].again is False


def test_what_is_in_quarantine_fails_nothing(everything: Ran) -> None:
    result, text = everything
    assert "QUARANTINED since 2026-11-20 test_held.py::test_held" in text
    held = Result("units", 1.0, 1, {"held": result.outcomes["test_held.py::test_held"]})
    later = datetime.date(2026, 12, 5)
    assert complaints([held], TODAY, is_full=True) == []
    assert complaints([held], later, is_full=False) == []
    (why,) = complaints([held], later, is_full=True)
    assert why == "test_held.py::test_held: in quarantine for 15 days; mend it or delete it"
    assert screen([held], []).splitlines()[-2:] == ["gate: green", "0 passed, 0 failed"]


def test_quarantine_without_since_or_why_is_a_failure(everything: Ran) -> None:
    (one,) = [one for one in everything[0].red if "unheld" in one.test]
    assert 'expected quarantine(since="2026-11-30", why="…")' in one.text


def test_a_test_that_hangs_does_not_end_those_after_it(everything: Ran) -> None:
    result, text = everything
    assert "FAILED test_hanging.py::test_hanging" in text
    assert "Timeout (>3.0s)" in text
    assert result.outcomes["test_zood.py::test_good"].state == "passed"


def test_three_flaky_tests_are_a_failure() -> None:
    flaky = {name: Outcome(name, "failed", again=True) for name in "abc"}
    (why,) = complaints([Result("units", 1.0, 1, flaky)], TODAY, is_full=False)
    assert why == "expected at most 2 flaky tests, got 3; mend them"
    del flaky["c"]
    assert complaints([Result("units", 1.0, 1, flaky)], TODAY, is_full=False) == []


def test_more_than_ten_in_quarantine_are_a_failure() -> None:
    held = {
        f"t{k}": Outcome(f"t{k}", "passed", quarantine={"since": "2026-11-29"}) for k in range(11)
    }
    (why,) = complaints([Result("units", 1.0, 0, held)], TODAY, is_full=False)
    assert why == "expected at most 10 tests in quarantine, got 11; mend some"


@pytest.mark.timing
def test_at_the_deadline_stacks_are_shown_and_what_did_not_run_is_listed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    gate, stage = gate_of(tmp_path, a=GOOD, hanging=HANGING, later=GOOD)
    result = gate.run(stage, 20)
    text = screen([result], complaints([result], TODAY, is_full=False))
    assert result.code is None
    assert result.seconds < 60
    out = capfd.readouterr().out
    assert "in test_hanging" in out
    assert "--- units: 2 tests did not run to their end" in text
    assert "running  test_hanging.py::test_hanging" in text
    assert "unrun    test_later.py::test_good" in text
    assert "gate: units: ended at its deadline" in text
    assert text.endswith("1 passed, 1 failed")


def test_a_stage_that_fails_without_a_test_shows_its_last_lines(tmp_path: Path) -> None:
    gate, _ = gate_of(tmp_path)
    stage = Stage("lint", ("sh", "-c", "echo E501 Line too long; exit 3"), 10)
    result = gate.run(stage)
    text = screen([result], complaints([result], TODAY, is_full=False))
    assert "E501 Line too long" in text
    assert text.splitlines()[-2:] == ["gate: lint: exit status 3", "0 passed, 1 failed"]


def test_nothing_that_a_stage_started_is_left(tmp_path: Path) -> None:
    gate, _ = gate_of(tmp_path)
    started = "sleep 300 & echo $! >pid; exec sleep 300"
    result = gate.run(Stage("stays", ("sh", "-c", started), 1), 1.0)
    assert result.code is None
    pid = int((gate.project / "pid").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_line_that_was_cut_short_is_left_out() -> None:
    lines = [
        '{"collected": ["a.py::t"]}',
        '{"test": "a.py::t", "when": "call", "outcome": "passed"}',
        '{"test": "a.py::t", "when": "tear',
    ]
    assert [(one.test, one.state) for one in read(lines).values()] == [("a.py::t", "passed")]


def test_deadlines_of_all_stages_of_the_gate_are_at_most_55_minutes() -> None:
    assert sum(2 * STAGES[name].usual_seconds for name in GATE) <= 55 * 60
    assert set(GATE) - {"smoke"} <= set(FULL)  # the whole cluster's tests have it in them
