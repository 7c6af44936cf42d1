"""The ledger on a PostgreSQL that dies, is away, or lets nobody in."""

import os
import signal
from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy import make_url, text
from test_ledger_faults import one_line, start

from helpers.costing import postgresql
from helpers.costing.histories import row
from tally.costing.database import writing
from tally.costing.ledger import Ledger, open_ledger
from tally.errors import RunError, SchemaError, SpecError, TallyError

pytestmark = pytest.mark.program("/usr/lib/postgresql")


@pytest.fixture
def ledger(url: str) -> Iterator[Ledger]:
    with open_ledger(url) as opened:
        yield opened


def without_password(error: TallyError) -> str:
    message = one_line(error)
    assert postgresql.PASSWORD not in message
    return message


def test_nothing_committed_is_lost_with_the_server_and_a_retry_writes_the_rest(
    server: postgresql.Server, url: str
) -> None:
    ledger = open_ledger(url)
    writer = start("a", 100_000, 30)
    assert writer.stdout is not None
    seen = [int(writer.stdout.readline()) for _ in range(5)]
    server.kill()
    rest, err = writer.communicate(timeout=60)
    seen += map(int, rest.split())
    kind, message = err.strip().split("|")
    assert (writer.returncode, kind) == (1, "RunError"), err
    without_password(RunError(message))
    with pytest.raises(RunError) as caught:
        ledger.usage()
    without_password(caught.value)
    server.start()
    found = ledger.usage(["a"])
    counts = dict.fromkeys(seen, 0)
    for one in found:
        number = int(one.pod_uid.split(":")[1])
        counts[number] = counts.get(number, 0) + 1
    assert set(counts.values()) == {30}
    assert len(counts) <= len(seen) + 1
    again = start("a", len(seen) + 2, 30)
    assert again.wait(60) == 0
    assert len(ledger.usage(["a"])) == 30 * (len(seen) + 2)
    ledger.close()


def test_a_writer_killed_in_mid_write_leaves_no_half(url: str) -> None:
    writer = start("a", 100_000, 300)
    assert writer.stdout is not None
    seen = [int(writer.stdout.readline()) for _ in range(3)]
    os.kill(writer.pid, signal.SIGKILL)
    rest, _ = writer.communicate(timeout=30)
    seen += map(int, rest.split("\n")[:-1])
    with open_ledger(url) as ledger:
        ledger.write_usage([row(0, 1, run_id="next")])  # waits for nothing that the dead held
        numbers = [int(one.pod_uid.split(":")[1]) for one in ledger.usage(["a"])]
    assert {numbers.count(n) for n in set(numbers)} == {300}
    assert set(seen) <= set(numbers)


def test_a_server_that_is_away_is_one_line_and_back_is_back(
    server: postgresql.Server, ledger: Ledger
) -> None:
    ledger.write_usage([row(0, 1)])
    server.stop()
    for _ in range(2):
        with pytest.raises(RunError) as caught:
            ledger.write_usage([row(1, 2)])
        without_password(caught.value)
    with pytest.raises(TallyError) as caught:
        open_ledger()
    without_password(caught.value)
    server.start()
    ledger.write_usage([row(1, 2)])
    assert len(ledger.usage()) == 2


def test_who_is_not_let_in_is_told_in_one_line_without_a_password(
    server: postgresql.Server, url: str
) -> None:
    name = str(make_url(url).database)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE ROLE reader LOGIN PASSWORD 'told-to-few'")
    for wrong in (
        server.url(name, password="mistyped-secret"),
        server.url("nowhere"),
        server.url(name, "reader", "told-to-few"),
        f"postgresql://tally:{postgresql.PASSWORD}@nowhere.invalid/{name}",
    ):
        with pytest.raises(TallyError) as caught:
            open_ledger(wrong)
        message = without_password(caught.value)
        assert not {"mistyped", "told-to-few"} & set(message.replace(":", " ").split())
        assert "TALLY_LEDGER_URL" in message or name in message or "nowhere" in message


def test_a_newer_tallys_ledger_is_refused_with_both_versions(ledger: Ledger) -> None:
    with writing(ledger.engine) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0099'"))
    with pytest.raises(SchemaError, match=r"version \d+ or older, got 99") as caught:
        open_ledger()
    without_password(caught.value)


def test_a_database_that_is_no_ledger_is_refused(ledger: Ledger) -> None:
    with writing(ledger.engine) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = 'ae10be1'"))
    with pytest.raises(SpecError, match="another program's database") as caught:
        open_ledger()
    without_password(caught.value)
