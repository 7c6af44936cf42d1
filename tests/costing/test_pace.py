"""The pace of the next training from those before, and the ledger that keeps them."""

import pytest

from tally.costing.ledger import open_ledger
from tally.costing.pace import pace
from tally.costing.profile import Profile


def seen(milliseconds: float, at: int = 1, **changes: object) -> Profile:
    usual = {
        "profile_id": f"p{at}", "key": "k", "machine_type": "local", "workers": 1,
        "made_at_microseconds": at, "source": "run", "spread": 0.0, "document": {},
    }  # fmt: skip
    return Profile(**{**usual, **changes}, step_seconds=milliseconds / 1000)


def test_the_newest_counts_most_and_all_lie_between() -> None:
    found = pace([seen(10), seen(20)]).seconds.expected
    assert 0.010 < found < 0.0145
    assert pace([seen(10)]).seconds.expected == pytest.approx(0.010)


def test_paces_that_differed_make_the_interval_wide() -> None:
    steady = pace([seen(10), seen(10.1), seen(9.9), seen(10)]).seconds
    jumping = pace([seen(10), seen(14), seen(9), seen(13)]).seconds
    assert steady.half_width < 0.1 < jumping.half_width
    once = pace([seen(10, spread=0.4)]).seconds
    assert once.half_width > pace([seen(10, spread=0.01)]).seconds.half_width


def test_the_start_is_the_newest_that_was_measured() -> None:
    started = seen(10, document={"start_seconds": 4.0})
    assert pace([seen(10), started, seen(9, document={"start_seconds": 7.0})]).start_seconds == 4.0
    assert pace([seen(10)]).start_seconds == 0.0


def test_the_ledger_gives_a_keys_profiles_newest_first_and_each_once() -> None:
    with open_ledger() as ledger:
        ledger.put_profiles([seen(10, 1), seen(11, 3), seen(12, 2), seen(9, 4, key="other")])
        ledger.put_profiles([seen(10, 1, document={"again": True})])
        found = ledger.profiles(["k"])
    assert [one.profile_id for one in found] == ["p3", "p2", "p1"]
    assert found[-1].document == {"again": True}
    with open_ledger() as ledger:
        assert [one.key for one in ledger.profiles()] == ["other", "k", "k", "k"]
