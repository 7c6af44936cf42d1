"""What was measured of training steps: by profiles of seconds, and by every run that trained."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Engine,
    Float,
    Index,
    Integer,
    String,
    Table,
    Text,
    select,
)

from tally.costing.database import reading, writing
from tally.costing.tables import metadata, upsert

NEWEST = 200  # rows that a look reads at most

profiles = Table(
    "profiles",
    metadata,
    Column("profile_id", String(64), primary_key=True),
    Column("key", String(64), nullable=False),
    Column("machine_type", Text, nullable=False),
    Column("workers", Integer, nullable=False),
    Column("made_at_microseconds", BigInteger, nullable=False),
    Column("source", String(16), nullable=False),
    Column("run_id", String(64), nullable=False),
    Column("pipeline", Text, nullable=False),
    Column("step_seconds", Float, nullable=False),
    Column("spread", Float, nullable=False),
    Column("document", JSON, nullable=False),
    Index("profiles_key", "key", "made_at_microseconds"),
    Index("profiles_made", "made_at_microseconds"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Steps of one size, measured; the newest of a key, machine type and size counts.

    Attributes:
        profile_id: the same for every write of it.
        key: of what has to be the same for it to be of use: model, shape of the data, batch,
            cores, code, machine.
        machine_type: of the workers; "local" on this machine.
        workers: world size.
        made_at_microseconds: UTC.
        source: "profile", of seconds made for a quote; "run", a whole training.
        run_id, pipeline: whose training it was; run_id is "" for a profile.
        step_seconds: of one full step, steady.
        spread: standard deviation of step_seconds over parts of the measurement, as a share of it.
        document: the rest: examples_per_worker, steps, start_seconds, train_seconds, ….
    """

    profile_id: str
    key: str
    machine_type: str
    workers: int
    made_at_microseconds: int
    source: Literal["profile", "run"]
    run_id: str = ""
    pipeline: str = ""
    step_seconds: float
    spread: float
    document: Mapping[str, Any] = field(default_factory=dict)


_NAMES = tuple(one.name for one in fields(Profile))
_COLUMNS = [profiles.c[name] for name in _NAMES]


@dataclass(frozen=True)
class ProfileLedger:
    """The ledger's profiles; see Ledger."""

    engine: Engine

    def put_profiles(self, found: Iterable[Profile]) -> None:
        """Keep measurements, each in place of an older one of its id."""
        values = [{**asdict(one), "document": dict(one.document)} for one in found]
        if values:
            newer = profiles.c.made_at_microseconds
            statement = upsert(
                self.engine.dialect.name, profiles, lambda new: new.made_at_microseconds >= newer
            )
            with writing(self.engine) as connection:
                connection.execute(statement, values)

    def profiles(self, keys: Sequence[str] | None = None) -> list[Profile]:
        """The newest measurements of these keys, or of all, newest first."""
        query = select(*_COLUMNS)
        if keys is not None:
            query = query.where(profiles.c.key.in_(keys))
        newest = profiles.c.made_at_microseconds.desc(), profiles.c.profile_id
        with reading(self.engine) as connection:
            rows = connection.execute(query.order_by(*newest).limit(NEWEST)).all()
        return [Profile(**dict(zip(_NAMES, row, strict=True))) for row in rows]
