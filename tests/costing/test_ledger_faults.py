"""The ledger when processes are killed and compete, and on disks and files that fail."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from helpers import TESTS
from helpers.costing.histories import record, row
from tally.costing import tables
from tally.costing.ledger import open_ledger
from tally.errors import RunError, SchemaError, SpecError, TallyError

WRITER = [sys.executable, "-m", "helpers.costing.writer"]


def start(*arguments: object, prefix: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    command = [*prefix, *WRITER, *map(str, arguments)]
    return subprocess.Popen(
        command, cwd=TESTS, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def file() -> Path:
    return Path(os.environ["TALLY_HOME"]) / "ledger.db"


def one_line(error: TallyError) -> str:
    message = str(error)
    assert "expected" in message
    assert "got" in message
    assert ";" in message
    assert "\n" not in message
    return message


@pytest.mark.parametrize("same", ["", "same"], ids=["own rows", "the same rows"])
def test_processes_make_and_write_one_ledger_at_once(same: str) -> None:
    writers = [start(name, 15, 20, *([same] if same else [])) for name in "abcd"]
    answers = [writer.communicate(timeout=60) for writer in writers]
    assert [writer.returncode for writer in writers] == [0] * 4, answers
    with open_ledger() as ledger:
        assert len(ledger.usage()) == 15 * 20 * (1 if same else 4)


def test_a_writer_killed_in_mid_write_loses_nothing_committed_and_leaves_no_half() -> None:
    writer = start("a", 100_000, 300)
    assert writer.stdout is not None
    seen = [int(writer.stdout.readline()) for _ in range(5)]
    os.kill(writer.pid, signal.SIGKILL)
    rest, _ = writer.communicate(timeout=30)
    seen += [int(line) for line in rest.split("\n")[:-1]]
    with open_ledger() as ledger:
        batches: dict[int, int] = {}
        for one in ledger.usage():
            number = int(one.pod_uid.split(":")[1])
            batches[number] = batches.get(number, 0) + 1
        ledger.write_usage([row(0, 1, run_id="next")])
        assert len(ledger.usage(["next"])) == 1
    assert set(batches.values()) == {300}
    assert set(seen) <= set(batches)
    assert len(batches) <= len(seen) + 1
    with sqlite3.connect(file()) as plain:
        assert plain.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.program("strace")
def test_what_is_said_to_be_committed_is_synced_before(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    calls = ("-f", "-o", str(trace), "-e", "trace=fsync,fdatasync,write", "-e", "signal=none")
    writer = start("a", 5, 3, prefix=("strace", *calls))
    out, _ = writer.communicate(timeout=60)
    assert out.split() == [*"01234"]
    synced, said = False, 0
    for line in trace.read_text().splitlines():
        synced = synced or "fsync(" in line or "fdatasync(" in line
        if f'write(1, "{said}' in line:
            assert synced, f"batch {said}"
            synced, said = False, said + 1
    assert said == 5


def test_a_full_disk_is_one_line_and_what_was_committed_stays() -> None:
    writer = start("small-disk", 1000, 100)
    out, err = writer.communicate(timeout=60)
    kind, message = err.strip().split("|")
    assert (writer.returncode, kind) == (1, "RunError")
    assert "expected room to write" in one_line(RunError(message))
    with open_ledger() as ledger:
        assert len(ledger.usage()) == 100 * len(out.split())
        ledger.write_usage([row(0, 1, run_id="next")])


def test_a_database_that_may_not_grow_is_one_line() -> None:
    with open_ledger() as ledger:
        ledger.write_usage([row(0, 1)])
        with ledger.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA max_page_count=1")
        with pytest.raises(RunError, match="expected room to write") as caught:
            ledger.write_usage([row(n, n + 1, pod_uid=str(n)) for n in range(3000)])
        one_line(caught.value)
        assert ledger.usage() == [row(0, 1)]


def test_a_ledger_that_may_not_be_written_is_one_line() -> None:
    with open_ledger() as ledger:
        ledger.put_run(record())
    file().chmod(0o444)
    prefix: tuple[str, ...] = ()
    if os.geteuid() == 0:  # who ignores permissions until the capability is gone
        assert shutil.which("setpriv"), "as root this test needs util-linux"
        prefix = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
    writer = start("a", 1, 1, prefix=prefix)
    _, err = writer.communicate(timeout=60)
    kind, message = err.strip().split("|")
    assert (writer.returncode, kind) == (2, "SpecError"), err
    assert "expected a ledger that this user can write" in one_line(SpecError(message))


def scribble(path: Path) -> None:
    path.write_bytes(b"this is no database, but it is long enough to be one. " * 100)


def tear(path: Path) -> None:
    """The middle of the file overwritten, as by a bad disk."""
    content = bytearray(path.read_bytes())
    content[4096 : len(content) - 100] = bytes(range(256)) * (len(content) // 256 - 17)
    path.write_bytes(content)


@pytest.mark.parametrize("harm", [scribble, tear])
def test_a_corrupt_ledger_is_one_line(harm: Callable[[Path], None]) -> None:
    with open_ledger() as ledger:
        ledger.write_usage([row(n, n + 1, pod_uid=str(n)) for n in range(500)])
    harm(file())
    with pytest.raises(SpecError, match="expected Tally's ledger") as caught:
        open_ledger().usage()
    assert str(file()) in one_line(caught.value)


def test_a_newer_tallys_ledger_is_refused_with_both_versions_and_left_alone() -> None:
    with open_ledger() as ledger:
        ledger.put_run(record())
    with sqlite3.connect(file()) as plain:
        plain.execute("UPDATE alembic_version SET version_num = '0099'")
    with pytest.raises(SchemaError) as caught:
        open_ledger()
    message = one_line(caught.value)
    assert f"version {tables.SCHEMA} or older" in message
    assert "got 99" in message
    with sqlite3.connect(file()) as plain:
        assert plain.execute("SELECT version_num FROM alembic_version").fetchone() == ("0099",)


def test_another_programs_database_is_refused() -> None:
    open_ledger().close()
    with sqlite3.connect(file()) as plain:
        plain.execute("UPDATE alembic_version SET version_num = 'ae10be1'")
    with pytest.raises(SpecError, match="another program's database") as caught:
        open_ledger()
    one_line(caught.value)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        pytest.param("nonsense", "expected a URL", id="no URL"),
        pytest.param("mysql://u:secret@host/db", "expected sqlite or postgresql", id="other"),
        pytest.param("postgresql+none://u:secret@host/db", "driver is installed", id="no driver"),
        pytest.param("sqlite:////nowhere/at/all/ledger.db", "can write", id="no folder"),
    ],
)
def test_a_bad_url_is_one_line_without_its_password(
    monkeypatch: pytest.MonkeyPatch, url: str, told: str
) -> None:
    monkeypatch.setenv("TALLY_LEDGER_URL", url)
    with pytest.raises(SpecError, match=told) as caught:
        open_ledger()
    assert "secret" not in one_line(caught.value)


def test_the_url_says_where_the_ledger_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TALLY_LEDGER_URL", f"sqlite:///{tmp_path}/my ledger.db")
    with open_ledger() as ledger:
        ledger.put_run(record())
    assert (tmp_path / "my ledger.db").exists()
    assert not file().exists()
