"""The ledger on a real SQLite: what is written once or often, in any order, reads the same."""

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event, text
from sqlalchemy.dialects import postgresql

from helpers.costing.histories import HOUR, any_rows, killed, lives, record, row, spans, union
from tally.costing import tables
from tally.costing.cluster_tables import event_id
from tally.costing.database import writing
from tally.costing.ledger import Ledger, open_ledger
from tally.costing.merge import heard_microseconds, merge, newness, split_lost
from tally.costing.quotes import Kept, RunEvent
from tally.costing.usage import Usage
from tally.errors import SpecError

pytestmark = pytest.mark.exact


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    with open_ledger() as opened:
        yield opened


@pytest.fixture
def emptied(ledger: Ledger) -> Iterator[Ledger]:
    """For hypothesis: examples begin with `clear`."""
    yield ledger


def clear(ledger: Ledger) -> Ledger:
    with writing(ledger.engine) as connection:
        connection.execute(tables.usage.delete())
        connection.execute(tables.runs.delete())
    return ledger


on_sqlite = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def by_id(rows: list[Usage]) -> list[Usage]:
    return sorted(rows, key=lambda one: one.usage_id)


def test_what_is_written_is_read(ledger: Ledger) -> None:
    one = row(
        5, None, run_id="x", wait_seconds=0.25, spot=True, confirmed=False, accelerator="l4",
        accelerator_count=2, memory_request_bytes=2**40, memory_used_byte_seconds=1.5e12,
        software_usd_per_hour=0.5, source="pod", catalogue_version="2026-11",
    )  # fmt: skip
    ledger.write_usage([one])
    assert ledger.usage() == ledger.usage(["x"]) == [one]
    assert type(ledger.usage()[0].spot) is bool
    assert hash(ledger.usage()[0]) == hash(one)
    assert ledger.usage(["y"]) == ledger.usage([]) == []


def test_what_is_kept_is_counted(ledger: Ledger) -> None:
    said = [
        RunEvent(run_id=run_id, at_microseconds=1, kind="note", facts={"text": text})
        for run_id, text in (("x", "é" * 100), ("x", ""), ("y", ""))
    ]
    ledger.write_events(said)
    size = len(json.dumps({"text": "é" * 100})) + len(json.dumps({"text": ""}))
    assert ledger.events_kept("x") == Kept(2, size)
    assert ledger.events_kept("z") == Kept(0, 0)
    ledger.write_events([replace(said[0], namespace="elsewhere")])
    assert ledger.events_kept("x") == Kept(2, size)  # another run's
    assert ledger.events_kept("x", "elsewhere").rows == 1
    ids = {event_id(one) for one in said}
    assert ledger.events_known(ids, "elsewhere") == {event_id(said[0])}
    assert ledger.events_known({*ids, "nothing"}) == ids
    rows = [row(start, None, source="conductor") for start in range(3)]
    ledger.write_usage([*rows, row(9, None, source="pod")])
    (uid,) = {one.pod_uid for one in rows}
    assert ledger.conducted_kept([uid, "nobody"]) == {uid: 3}
    assert len(ledger.usage_of_pods([uid])) == 4
    assert [one.source for one in ledger.usage_of_pods([uid], "pod")] == ["pod"]
    assert ledger.usage_known([rows[0].usage_id, "nothing"]) == {rows[0].usage_id}
    assert ledger.usage_known([]) == set()


@on_sqlite
@given(rows=st.lists(any_rows(), max_size=10), chance=st.randoms())
def test_neither_repetition_nor_order_of_writes_matters(
    emptied: Ledger, rows: list[Usage], chance: random.Random
) -> None:
    newest: dict[str, Usage] = {}
    for one in rows:
        if one.usage_id not in newest or newness(one) > newness(newest[one.usage_id]):
            newest[one.usage_id] = one
    if any(
        newness(one) == newness(newest[one.usage_id]) and one != newest[one.usage_id]
        for one in rows
    ):
        return  # two writers that disagree about one interval: no writer does that
    again = rows + rows
    chance.shuffle(again)
    ledger = clear(emptied)
    while again:
        count = chance.randint(1, len(again))
        ledger.write_usage(again[:count])
        again = again[count:]
    expected = [
        replace(one, heartbeat_at_microseconds=heard_microseconds(one)) for one in newest.values()
    ]
    assert by_id(ledger.usage()) == by_id(expected)
    assert merge(ledger.usage()) == merge(expected)


def test_a_transaction_that_writes_an_interval_twice_keeps_the_newer(ledger: Ledger) -> None:
    opened, closed = row(0, None, heartbeat_at_microseconds=9), row(0, 7)
    ledger.write_usage([closed, opened])
    assert ledger.usage() == [closed]


def test_a_late_close_by_the_dead_takes_no_lost_work_back(ledger: Ledger) -> None:
    closed = row(0, 100)
    lost = split_lost([closed], "run", "train", 60, attempt_before=2)
    for writes in ([closed], lost, [closed], lost):
        ledger.write_usage(writes)
    found = sorted(ledger.usage(), key=lambda one: one.start_microseconds)
    assert [(one.phase, *spans([one])[0]) for one in found] == [
        ("work", 0, 60),
        ("restart", 60, 100),
    ]


@on_sqlite
@given(rows=lives(), data=st.data())
def test_a_resumed_run_keeps_both_lives_and_counts_nothing_twice(
    emptied: Ledger, rows: list[Usage], data: st.DataObject
) -> None:
    ledger = clear(emptied)
    at = data.draw(st.integers(rows[0].start_microseconds + 1, rows[0].stop_microseconds))
    saved = data.draw(st.none() | st.integers(rows[0].start_microseconds, at))
    first = killed(rows, at, late=data.draw(st.integers(0, 2_000_000)))
    second = data.draw(lives(begin=at + 5_000_000, attempt=2))
    ledger.write_usage(first)
    ledger.put_run(record(attempt=2))
    for _ in range(2):  # resume is killed too, and done again
        ledger.close_open_rows("run", 1)
        lost = split_lost(ledger.usage(["run"]), "run", "train", saved, attempt_before=2)
        ledger.write_usage(lost)
        ledger.write_usage(first)  # a write of the dead that comes late
    ledger.write_usage(second)
    bill = ledger.bill("run")
    both = union(spans(merge(first)) + spans(second))
    assert bill.billed_seconds == bill.wall_seconds == both / 1e6
    worked = [one for one in merge(ledger.usage()) if one.phase == "work" and one.attempt == 1]
    assert all(one.stop_microseconds <= saved for one in worked if one.step == "train")
    assert all(one.end_microseconds is not None for one in ledger.usage())


@on_sqlite
@given(begins=st.lists(st.integers(0, 400_000_000), min_size=2, max_size=4), data=st.data())
def test_a_bill_is_the_same_alone_and_among_all(
    emptied: Ledger, begins: list[int], data: st.DataObject
) -> None:
    ledger = clear(emptied)
    for number, begin in enumerate(begins):
        ledger.write_usage(data.draw(lives(run_id=f"run-{number}", begin=begin)))
        ledger.put_run(record(f"run-{number}", created_at_microseconds=begin))
    together = ledger.bills()
    assert [ledger.bill(one.run_id) for one in together] == together
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tally.costing.sweep._ROWS_TOGETHER", 1)  # swept in as many goes as can be
        assert ledger.bills() == together
    assert len(together) == len(begins)
    seconds = sum(round(one.billed_seconds * 1e6) for one in together)
    assert seconds == union(spans(ledger.usage()))


def test_a_run_finds_who_shared_its_machine(ledger: Ledger) -> None:
    ledger.write_usage([
        row(10, 20, run_id="mine"),
        row(15, None, run_id="beside", pod_uid="2", heartbeat_at_microseconds=30),
        row(90, 95, run_id="beside", pod_uid="3"),
        row(20, 30, run_id="after", pod_uid="4"),
        row(12, 18, run_id="elsewhere", pod_uid="5", node_uid="other"),
    ])  # fmt: skip
    assert {one.run_id for one in ledger.usage_sharing_nodes("mine")} == {"mine", "beside"}
    assert len(ledger.usage_sharing_nodes("mine")) == 3


def test_open_rows_are_closed_at_their_heartbeat_for_good(ledger: Ledger) -> None:
    left = row(0, None, heartbeat_at_microseconds=40)
    ledger.write_usage([
        left,
        row(5, None, attempt=2, heartbeat_at_microseconds=50),
        row(6, None, run_id="other", pod_uid="2", heartbeat_at_microseconds=60),
    ])  # fmt: skip
    ledger.close_open_rows("run", attempt=1)
    assert [one.end_microseconds for one in ledger.usage(["run"])] == [40, None]
    ledger.close_open_rows("run")
    assert [one.end_microseconds for one in ledger.usage(["run"])] == [40, 50]
    ledger.write_usage([replace(left, heartbeat_at_microseconds=99)])
    assert [one.end_microseconds for one in ledger.usage()] == [40, 50, None]
    ledger.write_usage([replace(left, end_microseconds=45, heartbeat_at_microseconds=45)])
    assert ledger.usage(["run"])[0].end_microseconds == 45


def test_a_run_is_kept_and_changed(ledger: Ledger) -> None:
    first = record(spec={"epochs": 5, "model": "cnn"}, state="running", owner="1:2.5")
    ledger.put_run(first)
    assert ledger.run("run") == first
    changed = ledger.update_run("run", state="failed", error="no", ended_at_microseconds=7)
    assert (
        ledger.run("run")
        == changed
        == replace(first, state="failed", error="no", ended_at_microseconds=7)
    )
    assert ledger.run("none") is None
    with pytest.raises(SpecError, match="expected the id of a run"):
        ledger.update_run("none", state="failed")
    with pytest.raises(SpecError, match="expected the id of a run"):
        ledger.bill("none")


def test_a_run_without_usage_and_a_ledger_without_runs_have_bills(ledger: Ledger) -> None:
    assert ledger.bills() == ledger.bills(["none"]) == []
    ledger.put_run(record(state="failed"))
    assert ledger.bill("run").total_usd == 0
    assert len(ledger.bills()) == 1


def test_runs_are_listed_newest_first(ledger: Ledger) -> None:
    for at in (5, 9, 7):
        ledger.put_run(record(f"run-{at}", created_at_microseconds=at * HOUR))
    assert [one.id for one in ledger.runs()] == ["run-9", "run-7", "run-5"]
    assert [one.run_id for one in ledger.bills()] == ["run-9", "run-7", "run-5"]


@pytest.mark.parametrize(
    "text", ["0199aaaa-1111", "0199AAAA-1111-7000-8000-00000000000a", "00000a"]
)
def test_a_run_is_found_by_either_end_of_its_id(ledger: Ledger, text: str) -> None:
    for run in ("0199aaaa-1111-7000-8000-00000000000a", "0199aaaa-2222-7000-8000-00000000000b"):
        ledger.put_run(record(run))
    assert ledger.find_run(text).id.endswith("a")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param("0199aa", "got 2 whose ids", id="several"),
        pytest.param("0199ff", "expected the id of a run", id="none"),
        pytest.param("0199", "6 or more characters", id="too short"),
        pytest.param("0199%%", "expected the id of a run", id="no wildcard"),
        pytest.param("", "6 or more characters", id="nothing"),
    ],
)
def test_what_names_no_single_run_is_one_line(ledger: Ledger, text: str, told: str) -> None:
    for run in ("0199aaaa-1111", "0199aaaa-2222"):
        ledger.put_run(record(run))
    with pytest.raises(SpecError, match=told) as caught:
        ledger.find_run(text)
    assert "make runs" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_id_that_begins_another_is_found(ledger: Ledger) -> None:
    for run in ("0199aaaa", "0199aaaa-2222"):
        ledger.put_run(record(run))
    assert ledger.find_run("0199aaaa").id == "0199aaaa"


def test_migrations_make_the_tables_that_the_code_has(ledger: Ledger) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    with ledger.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, tables.metadata) == []
        assert int(connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one())


@pytest.mark.timing
def test_opening_a_ledger_that_is_up_to_date_is_quick(ledger: Ledger) -> None:
    program = (
        "import sys, time; from tally.costing.ledger import open_ledger; t = time.perf_counter();"
        "open_ledger(); print(time.perf_counter() - t, 'alembic' in sys.modules)"
    )
    answers = [
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        for _ in range(3)
    ]
    told = [answer.stdout.split() for answer in answers]
    assert {imported for _, imported in told} == {"False"}
    assert min(float(seconds) for seconds, _ in told) < 0.06


def test_readers_do_not_wait_for_a_writer(ledger: Ledger) -> None:
    ledger.write_usage([row(0, 10)])
    with open_ledger() as other, writing(other.engine) as connection:
        connection.execute(tables.usage.delete())
        assert len(ledger.usage()) == 1
    assert ledger.usage() == []


def test_many_rows_are_one_transaction(ledger: Ledger) -> None:
    committed = []
    event.listen(ledger.engine, "commit", committed.append)
    ledger.write_usage([row(n, n + 1, pod_uid=str(n)) for n in range(2000)])
    assert len(committed) == 1
    assert len(ledger.usage()) == 2000


def test_the_upsert_is_also_postgresqls() -> None:
    sql = str(tables.upsert_usage("postgresql").compile(dialect=postgresql.dialect()))
    assert "ON CONFLICT (usage_id) DO UPDATE" in sql
    assert "WHERE (CAST(excluded.end_microseconds IS NOT NULL AS INTEGER)" in sql.replace("((", "(")
    assert str(tables.upsert_run("postgresql").compile(dialect=postgresql.dialect()))
