"""Pure: when a schedule of Kubeflow's fires, as its controller reads it.

    second minute hour day month weekday        or        @every 30m

The controller parses with robfig/cron v1, which takes five fields too, as the first five: then
`0 3 * * *`, elsewhere three in the morning, is every hour. So five are refused here. It knows one
time zone for all schedules of an installation.

Source: github.com/robfig/cron v1.2.0, parser.go and spec.go; kubeflow/pipelines,
backend/src/crd/controller/scheduledworkflow/util/cron_schedule.go.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo
from itertools import islice
from typing import NamedTuple
from zoneinfo import ZoneInfo

from tally.errors import SpecError

_YEARS = 5  # what does not come within them never comes
_EVERY = re.compile(r"@every ([0-9]{1,6})([smh])")
_UNITS = {"s": 1, "m": 60, "h": 3600}
_DAYS_OF_WEEK = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_ITEM = re.compile(r"(?:([*?])|(\w+)(?:-(\w+))?)(?:/([0-9]{1,9}))?", re.ASCII)
_NAMED = {
    "@yearly": "0 0 0 1 1 *", "@annually": "0 0 0 1 1 *", "@monthly": "0 0 0 1 * *",
    "@weekly": "0 0 0 * * 0", "@daily": "0 0 0 * * *", "@midnight": "0 0 0 * * *",
    "@hourly": "0 0 * * * *",
}  # fmt: skip


class _Field(NamedTuple):
    name: str
    first: int
    last: int
    words: tuple[str, ...] = ()


_FIELDS = (
    _Field("second", 0, 59),
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day", 1, 31),
    _Field("month", 1, 12, _MONTHS),
    _Field("weekday", 0, 6, _DAYS_OF_WEEK),
)


@dataclass(frozen=True)
class Every:
    """At a distance from the run before.

    Attributes:
        seconds: between two runs' planned times.
    """

    text: str
    seconds: int


@dataclass(frozen=True)
class Cron:
    """At these times.

    Attributes:
        seconds, minutes, hours, days, months: that match.
        weekdays: 0 is Sunday.
        both_days: the day and the weekday have to match, since one of them has a star; else one is
            enough.
    """

    text: str
    seconds: frozenset[int]
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    both_days: bool

    def is_day(self, at: datetime) -> bool:
        """Whether it fires on that day of the month."""
        matches = (at.day in self.days, at.isoweekday() % 7 in self.weekdays)
        return all(matches) if self.both_days else any(matches)


def parse(text: str) -> Cron | Every:
    """When, out of what a person wrote.

    Raises:
        SpecError: it is neither six fields nor `@every N(s|m|h)`, or a field is out of range.
    """
    text = " ".join(text.split())
    if text.startswith("@"):
        return _every(text)
    fields = text.split()
    if len(fields) == 5:
        corrected = re.sub(" 7$", " 0", f"0 {text}")  # Sunday
        raise SpecError(
            "CRON: expected six fields (second minute hour day month weekday), got the five of "
            f'"{text}", which Kubeflow would read as seconds first; pass CRON="{corrected}"'
        )
    if len(fields) != len(_FIELDS):
        raise SpecError(
            "CRON: expected six fields (second minute hour day month weekday) or @every N(s|m|h), "
            f'got {len(fields)} in "{text[:80]}"; pass for instance CRON="0 0 3 * * *"'
        )
    read = [_field(text, field) for text, field in zip(fields, _FIELDS, strict=True)]
    second, minute, hour, day, month, weekday = (values for values, _ in read)
    any_star = read[3][1] or read[5][1]
    return Cron(text, second, minute, hour, day, month, weekday, both_days=any_star)


def zone(name: str) -> tzinfo:
    """A time zone by its name, "Europe/Berlin".

    Raises:
        SpecError: there is none.
    """
    if name == "UTC":  # which needs no data, and slim images have none
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise SpecError(
            f'KFP_TIMEZONE: expected a zone like Europe/Berlin or UTC, got "{name}"; correct it'
        ) from error


def next_times(when: Cron | Every, after: datetime, where: tzinfo, count: int) -> list[datetime]:
    """The next times after `after`, in the zone `where`; fewer where there are no more.

    Args:
        after: aware; of an `Every` the planned time of the run before, or its creation.
        where: in which the controller reads fields: its CRON_SCHEDULE_TIMEZONE.
        count: at most so many.

    Raises:
        SpecError: it never fires.
    """
    at = after.astimezone(UTC).replace(microsecond=0)
    if isinstance(when, Every):
        times = [at + timedelta(seconds=when.seconds * turn) for turn in range(1, count + 1)]
    else:
        times = list(islice(_fires(when, at, where), count))
    if not times:
        raise SpecError(
            f'CRON: expected a time that comes, got "{when.text}", which does not within '
            f"{_YEARS} years; correct day and month"
        )
    return [moment.astimezone(where) for moment in times]


def _fires(when: Cron, at: datetime, where: tzinfo) -> Iterator[datetime]:
    while (found := _next(when, at, where)) is not None:
        yield found
        at = found


def _next(when: Cron, at: datetime, where: tzinfo) -> datetime | None:
    """The first second after `at` whose time of day there matches; in UTC.

    An hour that a clock leaves out does not fire, one that it repeats fires twice. (Where clocks
    change at midnight, as in Havana, robfig/cron itself is an hour or a day off around that day.)
    """
    at += timedelta(seconds=1)
    last_year = at.astimezone(where).year + _YEARS
    while (there := at.astimezone(where)).year <= last_year:
        if there.month not in when.months:
            at = _midnight(there.year + there.month // 12, there.month % 12 + 1, 1, where)
        elif not when.is_day(there):
            tomorrow = there.date() + timedelta(days=1)
            at = _midnight(tomorrow.year, tomorrow.month, tomorrow.day, where)
        elif there.hour not in when.hours:
            at += timedelta(hours=1, minutes=-there.minute, seconds=-there.second)
        elif there.minute not in when.minutes:
            at += timedelta(minutes=1, seconds=-there.second)
        elif there.second not in when.seconds:
            at += timedelta(seconds=1)
        else:
            return at
    return None


def _midnight(year: int, month: int, day: int, where: tzinfo) -> datetime:
    """The day's first moment, also where its clock skips or repeats midnight; in UTC."""
    begin = datetime.combine(datetime(year, month, day), time(), tzinfo=where)
    return max(begin.replace(fold=fold).astimezone(UTC) for fold in (0, 1))


def _every(text: str) -> Every:
    if found := _EVERY.fullmatch(text):
        seconds = int(found[1]) * _UNITS[found[2]]
        if seconds:
            return Every(text, seconds)
    remedy = _NAMED.get(text, "@every 12h")
    raise SpecError(
        f'CRON: expected six fields or @every N(s|m|h) with N from 1, got "{text[:80]}"; '
        f'pass for instance CRON="{remedy}"'
    )


def _field(text: str, field: _Field) -> tuple[frozenset[int], bool]:
    """The values that match, and whether there is a star among them."""
    found: set[int] = set()
    star = False
    for item in text.split(","):
        values, is_star = _item(item, field)
        found |= set(values)
        star = star or is_star
    return frozenset(found), star


def _item(item: str, field: _Field) -> tuple[range, bool]:
    found = _ITEM.fullmatch(item)
    if not found:
        raise _bad(item, field)
    star, low, high, step = found.groups()
    first = field.first if star else _number(low, item, field)
    if star or (step and not high):  # 5/15 is 5-59/15
        last = field.last
    else:
        last = _number(high, item, field) if high else first
    every = int(step) if step else 1
    if not field.first <= first <= last <= field.last or not every:
        raise _bad(item, field)
    return range(first, last + 1, every), bool(star)


def _number(text: str, item: str, field: _Field) -> int:
    if text.lower() in field.words:
        return field.words.index(text.lower()) + field.first
    if not text.isdigit():
        raise _bad(item, field)
    return int(text)


def _bad(item: str, field: _Field) -> SpecError:
    words = f", or {field.words[0]} to {field.words[-1]}" if field.words else ""
    return SpecError(
        f"CRON: expected {field.first} to {field.last}{words} as {field.name}, a range like "
        f'{field.first}-{field.last}/2, or *, got "{item[:40]}"; correct it'
    )
