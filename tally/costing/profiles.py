"""What was measured of training steps: by profiles of seconds, and by every run that trained."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields

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
from tally.costing.profile import Profile
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
