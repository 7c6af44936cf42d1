"""The ledger on a real PostgreSQL: the same as on SQLite, and for several writers at once."""

import random
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from test_ledger import (
    clear,
    test_a_bill_is_the_same_alone_and_among_all,
    test_a_late_close_by_the_dead_takes_no_lost_work_back,
    test_a_resumed_run_keeps_both_lives_and_counts_nothing_twice,
    test_a_run_is_found_by_either_end_of_its_id,
    test_a_run_is_kept_and_changed,
    test_a_transaction_that_writes_an_interval_twice_keeps_the_newer,
    test_many_rows_are_one_transaction,
    test_migrations_make_the_tables_that_the_code_has,
    test_neither_repetition_nor_order_of_writes_matters,
    test_readers_do_not_wait_for_a_writer,
    test_runs_are_listed_newest_first,
    test_what_is_kept_is_counted,
    test_what_is_written_is_read,
)
from test_ledger_faults import start

from helpers import TESTS
from helpers.costing.clusters import SECOND, any_clusters, any_cuts
from helpers.costing.histories import lives, record, row
from tally.costing.cluster_tables import nodes as nodes_table
from tally.costing.database import reading, writing
from tally.costing.ledger import Ledger, open_ledger
from tally.costing.nodes import Node
from tally.costing.usage import Usage

__all__ = [  # these run here as well, on the ledger that this file opens
    "test_a_bill_is_the_same_alone_and_among_all",
    "test_a_late_close_by_the_dead_takes_no_lost_work_back",
    "test_a_resumed_run_keeps_both_lives_and_counts_nothing_twice",
    "test_a_run_is_found_by_either_end_of_its_id",
    "test_a_run_is_kept_and_changed",
    "test_a_transaction_that_writes_an_interval_twice_keeps_the_newer",
    "test_many_rows_are_one_transaction",
    "test_migrations_make_the_tables_that_the_code_has",
    "test_neither_repetition_nor_order_of_writes_matters",
    "test_readers_do_not_wait_for_a_writer",
    "test_runs_are_listed_newest_first",
    "test_what_is_kept_is_counted",
    "test_what_is_written_is_read",
]

pytestmark = [pytest.mark.exact, pytest.mark.program("/usr/lib/postgresql")]
few = settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def ledger(url: str) -> Iterator[Ledger]:
    with open_ledger(url) as opened:
        assert opened.engine.dialect.name == "postgresql"
        yield opened


@pytest.fixture
def emptied(ledger: Ledger) -> Ledger:
    return ledger


def test_the_driver_is_psycopg_3(ledger: Ledger) -> None:
    assert ledger.engine.driver == "psycopg"


def test_commits_are_on_disk_where_the_servers_default_is_that_they_need_not_be(url: str) -> None:
    with open_ledger(url) as ledger, writing(ledger.engine) as connection:
        name = connection.execute(text("SELECT current_database()")).scalar_one()
        connection.execute(text(f'ALTER DATABASE "{name}" SET synchronous_commit TO off'))
    with open_ledger(url) as ledger, reading(ledger.engine) as connection:
        assert connection.execute(text("SHOW synchronous_commit")).scalar_one() == "on"


@few
@given(rows=lives(), cluster=any_clusters(pods=5), data=st.data())
def test_bills_and_accounts_are_sqlites(
    emptied: Ledger,
    tmp_path: Path,
    rows: list[Usage],
    cluster: tuple[list[Node], list[Usage]],
    data: st.DataObject,
) -> None:
    nodes, pods = cluster
    pods = [piece for one in pods for piece in data.draw(any_cuts(one))]
    runs = [record(run, created_at_microseconds=n) for n, run in enumerate(("run", "a", "b"))]
    (tmp_path / "ledger.db").unlink(missing_ok=True)
    with open_ledger(f"sqlite:///{tmp_path}/ledger.db") as sqlite:
        for ledger in (sqlite, clear(emptied)):
            with writing(ledger.engine) as connection:
                connection.execute(nodes_table.delete())
            ledger.write_nodes(nodes)
            ledger.write_usage([*rows, *pods])
            ledger.put_new_runs(runs)
        assert emptied.bills() == sqlite.bills()
        assert [emptied.bill(run.id) for run in runs] == [sqlite.bill(run.id) for run in runs]
        theirs, ours = (one.period(0, 10_000 * SECOND) for one in (sqlite, emptied))
        assert ours.accounts == theirs.accounts
        assert set(ours.charges) == set(theirs.charges)
        assert len(ours.charges) == len(theirs.charges)


@pytest.mark.parametrize("same", ["", "same"], ids=["own rows", "the same rows"])
def test_processes_make_and_write_one_ledger_at_once(url: str, same: str) -> None:
    writers = [start(name, 10, 20, *([same] if same else [])) for name in "abcd"]
    answers = [writer.communicate(timeout=60) for writer in writers]
    assert [writer.returncode for writer in writers] == [0] * 4, answers
    with open_ledger() as ledger:
        assert len(ledger.usage()) == 10 * 20 * (1 if same else 4)


def test_two_meters_that_write_the_same_pods_in_any_order_count_them_once(ledger: Ledger) -> None:
    """And neither waits for the other for ever: each locks the rows that it writes."""
    command = [sys.executable, "-m", "helpers.costing.shuffled_writer", "400", "25"]
    meters = [
        subprocess.Popen(
            [*command, seed], cwd=TESTS, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for seed in "12"
    ]
    answers = [meter.communicate(timeout=120) for meter in meters]
    assert [meter.returncode for meter in meters] == [0, 0], answers
    found = ledger.usage()
    assert len(found) == 400
    assert {one.stop_microseconds - one.start_microseconds for one in found} == {25 * SECOND}


def test_an_open_row_never_replaces_a_closed_one(ledger: Ledger) -> None:
    opened = row(0, None, heartbeat_at_microseconds=5, source="pod")
    closed = replace(opened, end_microseconds=9, heartbeat_at_microseconds=9)
    for writes in random.Random(0).sample([opened, closed, opened, closed], 4):
        ledger.write_usage([writes])
    assert ledger.usage() == [closed]
    assert ledger.open_usage() == []


def test_two_that_change_one_run_at_once_lose_none_of_each_others_changes(ledger: Ledger) -> None:
    ledger.put_run(record(state="running"))
    with ThreadPoolExecutor() as threads:
        one = threads.submit(lambda: [ledger.update_run("run", error=str(n)) for n in range(150)])
        two = [ledger.update_run("run", examples_trained=n) for n in range(150)]
        assert len(one.result()) == len(two)
        found = ledger.run("run")
    assert found is not None
    assert (found.error, found.examples_trained) == ("149", 149)


def test_what_one_call_reads_is_of_one_moment(ledger: Ledger) -> None:
    ledger.write_usage([row(0, 1)])
    count = text("SELECT count(*) FROM usage")
    with reading(ledger.engine) as connection:
        assert connection.execute(count).scalar_one() == 1
        ledger.write_usage([row(1, 2)])
        assert connection.execute(count).scalar_one() == 1
    assert len(ledger.usage()) == 2
