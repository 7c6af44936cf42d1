"""The script that makes .venv: one line and the remedy where Tally cannot run."""

import subprocess
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("system", "machine", "says"),
    [
        ("Darwin", "x86_64", "got an Intel Mac"),
        ("MINGW64_NT-10.0", "x86_64", "use WSL 2"),
        ("Linux", "riscv64", "got Linux riscv64"),
    ],
)
def test_another_machine_gets_one_line(
    system: str, machine: str, says: str, tmp_path: Path
) -> None:
    fake = tmp_path / "uname"
    fake.write_text(f'#!/bin/sh\n[ "$1" = -s ] && echo "{system}" || echo "{machine}"\n')
    fake.chmod(0o755)
    done = venv(tmp_path, f"{tmp_path}:/usr/bin:/bin")
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert says in done.stderr and "expected" in done.stderr


def test_another_python_gets_one_line(tmp_path: Path) -> None:
    for name in ("python3.11", "python3"):
        fake = tmp_path / name
        fake.write_text('#!/bin/sh\n[ "$1" = --version ] && exec echo Python 3.9.1\nexit 1\n')
        fake.chmod(0o755)
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in ("uname", "dirname", "cat", "cksum", "mkdir", "date", "sh"):
        (tools / tool).symlink_to(f"/usr/bin/{tool}")
    done = venv(tmp_path, f"{tmp_path}:{tools}")
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert "expected Python 3.11" in done.stderr


def venv(folder: Path, path: str) -> subprocess.CompletedProcess:
    """Run a copy of the script in an empty project."""
    project = folder / "project"
    for name in ("scripts", "requirements"):
        (project / name).mkdir(parents=True)
    script = project / "scripts" / "venv.sh"
    script.write_text((PROJECT / "scripts" / "venv.sh").read_text())
    (project / "requirements" / "local.lock").write_text("")
    (project / "pyproject.toml").write_text("")
    return subprocess.run(
        ["/bin/sh", str(script), "local"], capture_output=True, text=True, env={"PATH": path}
    )
