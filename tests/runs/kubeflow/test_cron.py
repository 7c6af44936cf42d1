"""Schedules are read as Kubeflow's controller reads them, and what it would misread is refused."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from tally.errors import SpecError
from tally.runs.kubeflow import cron

ROBFIG = json.loads((Path(__file__).parent / "robfig-times.json").read_text())
UTC_ZONE = ZoneInfo("UTC")
BERLIN = ZoneInfo("Europe/Berlin")
BOUNDS = ((0, 59), (0, 59), (0, 23), (1, 31), (1, 12), (0, 6))


def times(text: str, after: datetime, where: ZoneInfo = UTC_ZONE, count: int = 5) -> list[str]:
    found = cron.next_times(cron.parse(text), after, where, count)
    return [at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") for at in found]


def test_times_are_those_of_the_library_that_the_server_uses() -> None:
    assert len(ROBFIG["rows"]) >= 100
    for row in ROBFIG["rows"]:
        found = times(row["cron"], datetime.fromisoformat(row["after"]), ZoneInfo(row["zone"]))
        assert found == row["times"], row


def item(first: int, last: int) -> some.SearchStrategy[str]:
    number = some.integers(first, last)
    pair = some.tuples(number, number).map(sorted)
    step = some.integers(1, last)
    return some.one_of(
        some.sampled_from(["*", "?"]),
        number.map(str),
        pair.map(lambda p: f"{p[0]}-{p[1]}"),
        some.tuples(pair, step).map(lambda p: f"{p[0][0]}-{p[0][1]}/{p[1]}"),
        some.tuples(number, step).map(lambda p: f"{p[0]}/{p[1]}"),
        step.map(lambda n: f"*/{n}"),
    )


def expressions() -> some.SearchStrategy[str]:
    fields = (some.lists(item(*bounds), min_size=1, max_size=3).map(",".join) for bounds in BOUNDS)
    return some.tuples(*fields).map(" ".join)


MOMENTS = some.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31)).map(
    lambda at: at.replace(tzinfo=UTC)
)


@settings(max_examples=150, deadline=None)
@given(expressions(), MOMENTS, some.sampled_from([UTC_ZONE, BERLIN]))
def test_each_time_matches_and_is_later_than_the_one_before(
    text: str, after: datetime, where: ZoneInfo
) -> None:
    when = cron.parse(text)
    assert isinstance(when, cron.Cron)
    try:
        found = cron.next_times(when, after, where, 5)
    except SpecError as error:
        assert "which does not within 5 years" in str(error)
        return
    assert [after, *found] == sorted({after, *found})
    for at in found:
        assert at.tzinfo is where and at.microsecond == 0
        assert (at.second in when.seconds) and (at.minute in when.minutes)
        assert (at.hour in when.hours) and (at.month in when.months) and when.is_day(at)


@settings(max_examples=60, deadline=None)
@given(expressions(), MOMENTS, some.sampled_from([UTC_ZONE, BERLIN]))
def test_no_time_is_left_out(text: str, after: datetime, where: ZoneInfo) -> None:
    """Minute by minute for three days; whole minutes of the expression only."""
    when = cron.parse("0 " + text.split(" ", 1)[1])
    assert isinstance(when, cron.Cron)
    begin = after.replace(second=0, microsecond=0)
    expected = [
        at
        for minute in range(1, 3 * 24 * 60)
        if (at := (begin + timedelta(minutes=minute)).astimezone(where)).minute in when.minutes
        and at.hour in when.hours
        and at.month in when.months
        and when.is_day(at)
    ][:8]
    try:
        found = cron.next_times(when, after, where, 8)
    except SpecError:
        found = []
    assert found[: len(expected)] == expected
    assert all(at > begin + timedelta(days=2) for at in found[len(expected) :])


@pytest.mark.parametrize(
    ("day", "weekday", "both"),
    [("*", "1", True), ("1", "*", True), ("*/2", "1", True), ("?", "1", True), ("13", "5", False)],
)
def test_day_and_weekday_both_count_unless_both_are_named(
    day: str, weekday: str, both: bool
) -> None:
    when = cron.parse(f"0 0 0 {day} * {weekday}")
    assert isinstance(when, cron.Cron) and when.both_days is both


def test_an_hour_that_the_clock_leaves_out_does_not_fire_and_one_that_it_repeats_fires_twice() -> (
    None
):
    spring = times("0 30 2 * * *", datetime(2026, 3, 28, 12, tzinfo=UTC), BERLIN, 2)
    assert spring == ["2026-03-30T00:30:00Z", "2026-03-31T00:30:00Z"]
    autumn = times("0 30 2 * * *", datetime(2026, 10, 24, 12, tzinfo=UTC), BERLIN, 3)
    assert autumn == ["2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z", "2026-10-26T01:30:00Z"]


@pytest.mark.parametrize("where", ["America/Havana", "Asia/Beirut", "America/Sao_Paulo"])
def test_where_a_clock_changes_at_midnight_days_go_on(where: str) -> None:
    after = datetime(2017, 1, 1, tzinfo=UTC)
    found = cron.next_times(cron.parse("0 0 12 * * *"), after, ZoneInfo(where), 800)
    assert len({at.date() for at in found}) == 800


@pytest.mark.parametrize(("text", "seconds"), [("@every 40s", 40), ("@every 12h", 43200),
                                               (" @every  5m ", 300)])  # fmt: skip
def test_an_interval_is_counted_from_the_run_before(text: str, seconds: int) -> None:
    when = cron.parse(text)
    assert isinstance(when, cron.Every) and when.seconds == seconds
    after = datetime(2026, 1, 1, 0, 0, 0, 500_000, tzinfo=UTC)
    found = cron.next_times(when, after, UTC_ZONE, 3)
    begin = after.replace(microsecond=0)
    assert found == [begin + timedelta(seconds=seconds * turn) for turn in (1, 2, 3)]


@pytest.mark.parametrize(
    ("text", "corrected"),
    [
        ("0 3 * * *", "0 0 3 * * *"),
        ("25 * * * *", "0 25 * * * *"),
        ("*/5  *  * * 7", "0 */5 * * * 0"),
    ],
)
def test_five_fields_are_refused_with_the_six_that_mean_it(text: str, corrected: str) -> None:
    with pytest.raises(SpecError, match="would read as seconds first") as caught:
        cron.parse(text)
    assert str(caught.value).endswith(f'pass CRON="{corrected}"')
    assert isinstance(cron.parse(corrected), cron.Cron)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "got 0"),
        ("not a cron", "got 3"),
        ("0 0 0 * * * *", "got 7"),
        ("99 * * * * *", "0 to 59 as second"),
        ("0 60 * * * *", "0 to 59 as minute"),
        ("0 0 24 * * *", "0 to 23 as hour"),
        ("0 0 0 0 * *", "1 to 31 as day"),
        ("0 0 0 * 13 *", "1 to 12, or jan to dec as month"),
        ("0 0 0 * * 7", "0 to 6, or sun to sat as weekday"),
        ("0 0 0 * * sun-fry", "as weekday"),
        ("0 5-1 * * * *", "as minute"),
        ("0 */0 * * * *", "as minute"),
        ("0 1,,2 * * * *", "as minute"),
        ("0 +5 * * * *", "as minute"),
        ("0 ٣ * * * *", "as minute"),
        ("0 1-2-3 * * * *", "as minute"),
        ("@daily", 'pass for instance CRON="0 0 0 * * *"'),
        ("@every 0s", "N from 1"),
        ("@every 1h30m", "@every N(s|m|h)"),
        ("@every -5m", "@every N(s|m|h)"),
    ],
)
def test_what_the_server_would_refuse_or_misread_is_refused_here(text: str, said: str) -> None:
    with pytest.raises(SpecError, match=r"^CRON: expected") as caught:
        cron.parse(text)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_day_that_never_comes_is_refused() -> None:
    with pytest.raises(SpecError, match="does not within 5 years"):
        times("0 0 0 30 2 *", datetime(2026, 1, 1, tzinfo=UTC))


def test_utc_needs_no_data_of_time_zones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cron, "ZoneInfo", None)
    assert cron.zone("UTC") is UTC


def test_a_zone_that_is_none_is_refused() -> None:
    for name in ("Europe/Nowhere", "", "../etc/passwd"):
        with pytest.raises(SpecError, match=r"^KFP_TIMEZONE: expected a zone"):
            cron.zone(name)
