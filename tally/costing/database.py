"""Opening the ledger's database: where it is, its pragmas, its schema, and its errors in words."""

import contextlib
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, OperationalError

from tally import storage
from tally.costing.tables import SCHEMA
from tally.errors import RunError, SpecError, TallyError, check_schema

_BUSY_SECONDS = 30.0
_POSTGRESQL = {  # a server that is gone without a word is noticed within the minute
    "connect_timeout": 10,
    "keepalives_idle": 20,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 50_000,
}


def open_engine(url: str | None) -> Engine:
    """An engine on a database whose schema is this Tally's, made or brought up to it if need be.

    Args:
        url: SQLAlchemy's; None means $TALLY_LEDGER_URL, else ledger.db in $TALLY_HOME.

    Raises:
        SpecError: bad URL, not a database, corrupt, no permission; SchemaError: a newer Tally's.
        RunError: the disk is full, or another process holds the database for too long.
    """
    where = _url(url)
    try:
        engine = create_engine(where, connect_args=_arguments(where))
    except (ImportError, NoSuchModuleError) as error:
        raise SpecError(
            f"TALLY_LEDGER_URL: expected a database whose driver is installed, got "
            f"{where.drivername} ({error}); unset it to keep the ledger in SQLite"
        ) from error
    if where.get_backend_name() == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    else:
        event.listen(engine, "connect", _prepare_postgresql)
    try:
        with told(engine):
            _bring_up_to_date(engine)
    except BaseException:
        engine.dispose()
        raise
    return engine


@contextlib.contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """One transaction that writes; whole or not at all."""
    with told(engine), engine.execution_options(tally_writes=True).begin() as connection:
        yield connection


@contextlib.contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """One transaction that reads: everything as of one moment."""
    if engine.dialect.name == "postgresql":  # whose statements else see one moment each
        engine = engine.execution_options(isolation_level="REPEATABLE READ")
    with told(engine), engine.begin() as connection:
        yield connection


@contextlib.contextmanager
def told(engine: Engine) -> Iterator[None]:
    """Turn the database's errors inside the block into one line."""
    try:
        yield
    except DBAPIError as error:
        where = engine.url.database if engine.dialect.name == "sqlite" else None
        raise _in_words(where or engine.url.render_as_string(), error) from error


# Alembic's operations find their connection in a global: two threads would take each other's
_MIGRATING = threading.Lock()


def _url(given: str | None) -> URL:
    text_url = given or os.environ.get("TALLY_LEDGER_URL")
    if not text_url:
        return URL.create("sqlite", database=str(storage.home() / "ledger.db"))
    try:
        url = make_url(text_url)
    except ArgumentError as error:
        raise SpecError(
            "TALLY_LEDGER_URL: expected a URL like sqlite:////path/to/ledger.db, "
            "got something else; correct it, or unset it"
        ) from error
    if url.get_backend_name() not in ("sqlite", "postgresql"):
        raise SpecError(
            f"TALLY_LEDGER_URL: expected sqlite or postgresql, got {url.get_backend_name()}; "
            "unset it to keep the ledger in $TALLY_HOME"
        )
    return url.set(drivername="postgresql+psycopg") if url.drivername == "postgresql" else url


def _arguments(url: URL) -> dict[str, Any]:
    if url.get_backend_name() == "sqlite":
        return {"timeout": _BUSY_SECONDS}
    logging.getLogger("psycopg").setLevel(logging.ERROR)  # a lost connection is told once, here
    return dict(_POSTGRESQL)


def _prepare_sqlite(connection: sqlite3.Connection, _record: Any) -> None:
    """WAL: readers and the writer don't wait for each other. What is committed is on the disk: a
    pod's finalizer comes off, and a poster forgets, when the ledger has said yes."""
    connection.isolation_level = None  # transactions begin where _begin_sqlite says
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            break
        except sqlite3.OperationalError as error:
            # the one statement that doesn't wait for a lock: two processes making the file at once
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
    connection.execute("PRAGMA synchronous=FULL")


def _prepare_postgresql(connection: Any, _record: Any) -> None:
    """What is committed is on the server's disk, whatever the server's default is."""
    with connection.cursor() as cursor:
        (found,) = cursor.execute("SHOW synchronous_commit").fetchone()
        if found == "off":
            cursor.execute("SET synchronous_commit TO on")
    connection.commit()


def _begin_sqlite(connection: Connection) -> None:
    """A writer takes the lock at once: one that reads first and is overtaken would have to fail."""
    writes = connection.get_execution_options().get("tally_writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _bring_up_to_date(engine: Engine) -> None:
    """Migrate an older schema, under the write lock; Alembic is imported only then."""
    shown = engine.url.database or engine.url.render_as_string()
    with engine.connect() as connection:
        found = _schema(connection)
    check_schema(f"the ledger {shown}", found, SCHEMA)
    if found == SCHEMA:
        return
    from alembic import command
    from alembic.config import Config

    with _MIGRATING, writing(engine) as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(7411)"))
        if _schema(connection) < SCHEMA:  # another process may have been quicker
            config = Config()
            config.set_main_option("script_location", "tally.costing:migrations")
            config.attributes["connection"] = connection
            command.upgrade(config, "head")


def _schema(connection: Connection) -> int:
    """The schema that the database has, 0 for none: Alembic's revision, which is a number here."""
    if not connection.dialect.has_table(connection, "alembic_version"):
        return 0
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar() or "0"
    if not str(found).isdecimal():
        raise SpecError(
            f"{connection.engine.url.render_as_string()}: expected Tally's ledger, got another "
            f"program's database (its revision is {found}); give the ledger one of its own"
        )
    return int(found)


def _in_words(where: str, error: DBAPIError) -> TallyError:
    """A database's error as one line; SQLite's by their text, which is stable."""
    got = str(error.orig).strip().splitlines()[0]
    if "not a database" in got or "malformed" in got:
        return SpecError(
            f"{where}: expected Tally's ledger, got a file that SQLite cannot read ({got}); "
            "restore it, or move it away to begin a new ledger"
        )
    if "readonly" in got or "unable to open" in got or "denied" in got:
        return SpecError(
            f"{where}: expected a ledger that this user can write, got '{got}'; "
            "give yourself permission, or set TALLY_HOME to a folder of yours"
        )
    if "is full" in got or "disk I/O" in got or "No space left" in got:
        return RunError(
            f"{where}: expected room to write, got '{got}'; "
            "free space there, or set TALLY_HOME to a larger disk, then `make resume`"
        )
    if isinstance(error, OperationalError) and "locked" in got:
        return RunError(
            f"{where}: expected the ledger to be free within {_BUSY_SECONDS:.0f} s, got '{got}'; "
            "end the process that holds it (`fuser` names it)"
        )
    if "authentication failed" in got or "does not exist" in got:
        return SpecError(
            f"{where}: expected a user and a database that PostgreSQL knows, got '{got}'; "
            "correct TALLY_LEDGER_URL"
        )
    return RunError(f"{where}: expected the ledger to answer, got '{got}'; run `make doctor`")
