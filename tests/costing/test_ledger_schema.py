"""A ledger that the Tally before wrote opens, and bills what it billed then; a newer one does not.

schema_1/ holds what the last Tally of schema 1 wrote: four runs (two on one machine at once, one
killed and resumed, one that died with its only row open), and the bills that it made of them.
"""

import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL, Engine, MetaData, Table, create_engine, make_url
from test_ledger_faults import file, one_line, start

from helpers.costing import cluster_rows
from helpers.costing.clusters import a_node, a_pod
from tally.costing.database import writing
from tally.costing.ledger import Ledger, open_ledger
from tally.costing.runs import RunRecord
from tally.costing.tables import SCHEMA, usage_values
from tally.errors import RunError, SchemaError

pytestmark = pytest.mark.exact

BEFORE = Path(__file__).parent / "schema_1"
BILLS: list[dict[str, Any]] = json.loads((BEFORE / "bills.json").read_text())
TABLES = ("runs", "usage")
Rows = list[tuple[Any, ...]]


@pytest.fixture
def before() -> dict[str, Rows]:
    """A ledger of schema 1 where this test's is; its tables' rows."""
    file().parent.mkdir(parents=True, exist_ok=True)
    with sqlite3.connect(file()) as plain:
        plain.executescript((BEFORE / "ledger.sql").read_text())
        return {name: rows(plain.execute, name) for name in TABLES}


def rows(execute: Callable[[str], Any], table: str) -> Rows:
    key = {"runs": "id", "usage": "usage_id"}[table]
    return [tuple(row) for row in execute(f'SELECT * FROM "{table}" ORDER BY {key}').fetchall()]


def version() -> int:
    with sqlite3.connect(file()) as plain:
        return int(plain.execute("SELECT version_num FROM alembic_version").fetchone()[0])


def bills_as_then(ledger: Ledger) -> None:
    """Every word that the bill had then still says the same; it may have learnt new ones."""
    now = [bill.as_json() for bill in ledger.bills()]
    assert [bill["run_id"] for bill in now] == [bill["run_id"] for bill in BILLS]
    for bill, then in zip(now, BILLS, strict=True):
        assert {name: bill[name] for name in then if name != "schema"} == {
            name: value for name, value in then.items() if name != "schema"
        }


def works(ledger: Ledger) -> None:
    """What only this schema can hold is held."""
    ledger.write_nodes([a_node()])
    ledger.write_usage([a_pod(0, 60, accelerator_count=0.25)])
    (pod,) = ledger.usage_of_pods(["a"])
    assert pod.accelerator_count == 0.25
    assert len(ledger.nodes()) == 1
    assert ledger.events("run") == []
    assert ledger.quote("run") is None


def test_a_ledger_of_the_schema_before_opens_and_bills_the_same(before: dict[str, Rows]) -> None:
    assert version() == 1
    with open_ledger() as ledger:
        assert version() == SCHEMA
        bills_as_then(ledger)
        with sqlite3.connect(file()) as plain:
            for name in TABLES:
                now = rows(plain.execute, name)
                width = len(before[name][0])  # what a later schema adds stands behind
                assert [row[:width] for row in now] == before[name]
            peaks = plain.execute("SELECT DISTINCT memory_peak_bytes FROM usage").fetchall()
            assert peaks == [(0,)]  # unknown
            assert plain.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        works(ledger)
        bills_as_then(ledger)
    with open_ledger() as again:
        bills_as_then(again)


def test_an_old_ledgers_own_rows_are_still_theirs(before: dict[str, Rows]) -> None:
    """The same write again is the same interval, also across the schemas."""
    with open_ledger() as ledger:
        found = ledger.usage()
        assert len(found) == len(before["usage"])
        ledger.write_usage(found)
        assert sorted(map(repr, ledger.usage())) == sorted(map(repr, found))
        (failed,) = (one for one in found if one.end_microseconds is None)
        assert (failed.accelerator, failed.accelerator_count, failed.spot) == ("l4", 2, True)


def test_processes_that_open_an_old_ledger_at_once_migrate_it_once(
    before: dict[str, Rows],
) -> None:
    writers = [start(name, 3, 10) for name in "abcd"]
    answers = [writer.communicate(timeout=60) for writer in writers]
    assert [writer.returncode for writer in writers] == [0] * 4, answers
    with open_ledger() as ledger:
        assert len(ledger.usage()) == len(before["usage"]) + 4 * 30
        bills_as_then(ledger)


LIMITED = """
import resource, signal, sys
from tally.costing.ledger import open_ledger
from tally.errors import TallyError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
try:
    open_ledger()
except TallyError as error:
    sys.exit(f"{type(error).__name__}|{error}")
"""


@pytest.mark.parametrize("room", [8_192, 20_000, 40_000])
def test_a_disk_that_fills_up_in_mid_migration_leaves_the_old_ledger(
    before: dict[str, Rows], room: int
) -> None:
    command = [sys.executable, "-c", LIMITED, str(room)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1, ended
    kind, message = ended.stderr.strip().split("|")
    assert kind == "RunError"
    assert "expected room to write" in one_line(RunError(message))
    assert version() == 1
    with open_ledger() as ledger:
        bills_as_then(ledger)
        works(ledger)


def test_a_newer_ledger_is_refused_with_both_versions_and_left_as_it_is(
    before: dict[str, Rows],
) -> None:
    open_ledger().close()
    with sqlite3.connect(file()) as plain:
        plain.execute("UPDATE alembic_version SET version_num = ?", [f"{SCHEMA + 1:04}"])
    held = file().read_bytes()
    with pytest.raises(SchemaError) as caught:
        open_ledger()
    assert f"version {SCHEMA} or older, got {SCHEMA + 1}" in one_line(caught.value)
    assert file().read_bytes() == held
    assert len(before["usage"]) > 0


def at_revision(url: URL, revision: str) -> Engine:
    """A database of an older schema."""
    from alembic import command
    from alembic.config import Config

    engine = create_engine(url)
    with writing(engine) as connection:
        config = Config()
        config.set_main_option("script_location", "tally.costing:migrations")
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    return engine


def keeps_whose_runs_are(url: str) -> None:
    """Of a ledger whose runs were their id's: a cluster's, a machine's own, and pods alone."""
    engine = at_revision(make_url(url), "0004")
    metadata = MetaData()
    record = asdict(RunRecord(
        id="on-cluster", pipeline="cnn", state="failed", created_at_microseconds=7,
        value_of_hour_usd=2.0, engine="cluster", team="team-a", metrics={"test_accuracy": 0.5},
    ))  # fmt: skip
    here = {**record, "id": "here", "engine": "local", "team": "local"}
    pods = [
        cluster_rows.pod(0, 60, run_id=run_id, pod_uid=f"{run_id}-{team}", namespace=team)
        for run_id, teams in {"pods": ["team-b"], "both": ["team-a", "team-b"]}.items()
        for team in teams
    ]
    ids = ("on-cluster", "here", "pods", "both", "nobodys")
    old = {
        "runs": [record, here],
        "usage": list(map(usage_values, pods)),
        "quotes": [
            {"run_id": one, "made_at_microseconds": 9, "low_usd": 1, "expected_usd": 2,
             "high_usd": 3, "budget_usd": 4, "document": {"of": one}} for one in ids
        ],
        "events": [
            {"event_id": one, "run_id": one, "at_microseconds": 8, "kind": "note", "step": "s",
             "facts": {"of": one}} for one in ids
        ],
    }  # fmt: skip
    with writing(engine) as connection:
        for name, values in old.items():
            table = Table(name, metadata, autoload_with=connection)
            connection.execute(table.insert(), values)
    engine.dispose()
    with open_ledger(url) as ledger:
        wanted = {"on-cluster": "team-a", "here": "", "pods": "team-b", "both": "", "nobodys": ""}
        assert {one.run_id: one.namespace for one in ledger.quotes()} == wanted
        for run_id, namespace in wanted.items():
            quote, (event,) = ledger.quote(run_id), ledger.events(run_id)
            assert quote is not None and quote == ledger.quote(run_id, namespace)
            assert (quote.document, quote.budget_usd) == ({"of": run_id}, 4)
            assert (event.namespace, event.facts) == (namespace, {"of": run_id})
        kept = {asdict(one)["id"]: (asdict(one), one.namespace) for one in ledger.runs()}
        assert kept == {"on-cluster": (record, "team-a"), "here": (here, "")}
        ledger.put_new_runs([replace(RunRecord(**record), team="team-b", state="succeeded")])
        states = {one.namespace: one.state for one in ledger.runs() if one.id == "on-cluster"}
        assert states == {"team-a": "failed", "team-b": "succeeded"}


def test_whose_a_run_was_it_stays(tmp_path: Path) -> None:
    keeps_whose_runs_are(f"sqlite:///{tmp_path}/old.db")


@pytest.mark.program("/usr/lib/postgresql")
def test_whose_a_run_was_it_stays_on_postgresql(url: str) -> None:
    keeps_whose_runs_are(url.replace("postgresql:", "postgresql+psycopg:", 1))


@pytest.mark.program("/usr/lib/postgresql")
def test_an_old_ledger_on_postgresql_opens_and_bills_the_same(
    before: dict[str, Rows], url: str
) -> None:
    _migrate_to_schema_1(url)
    with open_ledger(url) as ledger:
        bills_as_then(ledger)
        assert len(ledger.usage()) == len(before["usage"])
        works(ledger)


def _migrate_to_schema_1(url: str) -> None:
    """What SQLite's file holds, in a PostgreSQL of schema 1."""
    engine = at_revision(make_url(url).set(drivername="postgresql+psycopg"), "0001")
    old = create_engine(f"sqlite:///{file()}")
    with writing(engine) as connection, old.connect() as plain:
        found: Sequence[Any]
        for name in TABLES:
            table = Table(name, MetaData(), autoload_with=plain)
            found = plain.execute(table.select()).mappings().all()
            connection.execute(table.insert(), [dict(row) for row in found])
    for each in (engine, old):
        each.dispose()


def test_threads_that_make_ledgers_at_once_do_not_mix_them_up(tmp_path: Path) -> None:
    urls = [f"sqlite:///{tmp_path}/{name}.db" for name in range(8)]
    with ThreadPoolExecutor(len(urls)) as pool:
        for ledger in pool.map(open_ledger, urls):
            with ledger:
                assert ledger.runs() == []
                assert ledger.bills() == []
