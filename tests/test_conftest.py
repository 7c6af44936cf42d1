"""The rules for all tests, seen from outside: a pytest of its own over two small tests."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = """
import os
import pytest

@pytest.mark.program("no-such-program")
def test_needs_it():
    raise AssertionError("must not run")

def test_has_a_home_of_its_own(tmp_path):
    assert os.environ["TALLY_HOME"].startswith(str(tmp_path))
    assert "TALLY_PRICE_PER_HOUR" not in os.environ
"""

HERE_OR_ELSEWHERE = pytest.mark.parametrize(
    "options", [[], ["-n", "1"]], ids=["in this process", "in one of pytest-xdist's"]
)


def run_pytest(folder: Path, *options: str, **environment: str) -> tuple[int, str]:
    shutil.copy(Path(__file__).with_name("conftest.py"), folder / "conftest.py")
    (folder / "test_two.py").write_text(TESTS)
    ini = f"[pytest]\npythonpath = {Path(__file__).parent}\nmarkers = program(name): x\n"
    (folder / "pytest.ini").write_text(ini)
    base = {k: v for k, v in os.environ.items() if not k.startswith("TALLY_")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options, str(folder)],
        env={**base, "TALLY_PRICE_PER_HOUR": "9", **environment},
        capture_output=True, text=True, check=False, cwd=folder, timeout=60,
    )  # fmt: skip
    return done.returncode, done.stdout


@HERE_OR_ELSEWHERE
def test_a_missing_program_is_skipped_aloud_with_the_remedy(
    options: list[str], tmp_path: Path
) -> None:
    code, text = run_pytest(tmp_path, *options)
    assert code == 0
    assert "1 passed, 1 skipped" in text
    assert "no-such-program: 1 test(s) not run; remedy: make test-deps (Debian, root)" in text


@HERE_OR_ELSEWHERE
def test_a_skip_is_a_failure_where_all_is_required(options: list[str], tmp_path: Path) -> None:
    code, text = run_pytest(tmp_path, *options, TALLY_REQUIRE_ALL="1")
    assert code == 1
    assert "no-such-program: 1 test(s) not run" in text
    assert "skipped under TALLY_REQUIRE_ALL=1: Skipped: no-such-program is missing" in text


@HERE_OR_ELSEWHERE
def test_a_file_that_skips_itself_is_a_failure_where_all_is_required(
    options: list[str], tmp_path: Path
) -> None:
    (tmp_path / "test_none.py").write_text("import pytest\npytest.importorskip('no_such_module')\n")
    assert "2 skipped" in run_pytest(tmp_path, *options)[1]
    code, text = run_pytest(tmp_path, *options, TALLY_REQUIRE_ALL="1")
    assert code not in (0, 5)
    assert "test_none.py: skipped under TALLY_REQUIRE_ALL=1: " in text


def test_test_deps_without_root_says_so_in_one_line() -> None:
    script = Path(__file__).parent.parent / "scripts" / "test-deps.sh"
    # Nobody is root here, whoever runs the tests: `id` says so.
    done = subprocess.run(
        ["sh", "-c", 'id() { echo 1000; }; command() { :; }; . "$0"', str(script)],
        capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("test-deps: expected root, got 1000; run: sudo make test-deps")
