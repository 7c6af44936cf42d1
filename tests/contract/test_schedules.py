"""Schedules are made once, listed, paused and resumed."""

import json
import re
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from helpers.contract.recurring import NIGHTLY, Scheduling, nightly, scheduling
from helpers.contract.replay import recorded

pytestmark = pytest.mark.slow


@pytest.fixture
def replay(monkeypatch: pytest.MonkeyPatch) -> Iterator[Scheduling]:
    with scheduling(monkeypatch) as server:
        yield server


@pytest.fixture
def made(run_tally, replay: Scheduling) -> dict[str, Any]:
    return nightly(run_tally, replay)


def test_a_schedule_is_made_at_most_one_at_a_time_and_without_catching_up(
    made: dict[str, Any], replay: Scheduling
) -> None:
    assert made["trigger"] == {"cron_schedule": {"cron": NIGHTLY}}
    assert (made["max_concurrency"], made["no_catchup"], made["mode"]) == ("1", True, "ENABLE")
    (version,) = replay.versions.values()
    assert (
        made["pipeline_version_reference"]["pipeline_version_id"]
        == (version["pipeline_version_id"])
    )
    assert made["runtime_config"]["parameters"]["epochs"] == 7


def test_the_next_five_times_are_said_before_it_is_made(run_tally, replay: Scheduling) -> None:
    replay.faults["POST recurringruns"] = ["55-error-recurring-max-concurrency"]
    done = run_tally("schedule", "cnn", "--cron", NIGHTLY)
    assert done.code == 2
    times = re.findall(r"^  \w{3} (\d{4}-\d\d-\d\d) 03:00:00", done.out, re.MULTILINE)
    assert len(times) == len(set(times)) == 5 and times == sorted(times)
    assert "in UTC, the server's time zone as KFP_TIMEZONE says" in done.out
    assert replay.recurring == {}


def test_times_are_said_in_the_servers_time_zone(run_tally, replay: Scheduling) -> None:
    done = run_tally("schedule", "cnn", "--cron", NIGHTLY, "--timezone", "Pacific/Kiritimati")
    assert done.code == 0, done.err
    assert "Pacific/Kiritimati" in done.out
    assert len(re.findall(r" 03:00:00 \(\w{3} 13:00:00 here\)", done.out)) == 5


def test_an_interval_is_the_servers_interval(run_tally, replay: Scheduling) -> None:
    assert run_tally("schedule", "create", "cnn", "--cron", "@every 12h").code == 0
    (one,) = replay.recurring.values()
    assert one["trigger"] == {"periodic_schedule": {"interval_second": "43200"}}
    assert "@every 12h" in run_tally("schedule", "list").out


def test_make_passes_its_values_by_the_environment(
    run_tally, replay: Scheduling, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"PIPELINE": "rnn", "CRON": "0 */5 * * * *", "SET": "epochs=2"}.items():
        monkeypatch.setenv(name, value)
    assert run_tally("schedule").code == 0
    (one,) = replay.recurring.values()
    assert one["trigger"] == {"cron_schedule": {"cron": "0 */5 * * * *"}}
    assert (one["display_name"], one["runtime_config"]["parameters"]["epochs"]) == ("rnn", 2)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("cnn", "--cron", "0 3 * * *"), 'pass CRON="0 0 3 * * *"'),
        (("cnn", "--cron", "99 * * * * *"), "expected 0 to 59 as second"),
        (("cnn", "--cron", "0 0 0 30 2 *"), "does not within 5 years"),
        (("cnn", "--cron", NIGHTLY, "--timezone", "Mars"), "KFP_TIMEZONE: expected a zone"),
        (("cnn", "--cron", NIGHTLY, "--at-once", "11"), "--at-once: expected 1 to 10, got 11"),
        (("nosuch", "--cron", NIGHTLY), "nosuch"),
        (("cnn", "--cron", NIGHTLY, "--set", "epochs=0"), "epochs"),
        (("cnn",), "CRON"),
        (("pause", "cnn"), "got \"cnn\" (0 schedules)"),
        (("delete", "12345678"), "got \"12345678\" (0 schedules)"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_nothing_is_made(
    run_tally, replay: Scheduling, arguments: tuple[str, ...], said: str
) -> None:
    done = run_tally("schedule", *arguments)
    assert done.code == 2
    assert said in done.err and len(done.err.splitlines()) == 1
    assert replay.changes() == [] and replay.pipelines == {}


def test_a_second_schedule_of_the_same_name_is_refused(
    run_tally, replay: Scheduling, made: dict[str, Any]
) -> None:
    versions = dict(replay.versions)
    done = run_tally("schedule", "cnn", "--cron", "0 0 4 * * *", "--set", "epochs=9")
    assert done.code == 2
    assert f'expected a name that is free, got "cnn" ({NIGHTLY}, id ' in done.err
    assert len(replay.recurring) == 1 and replay.versions == versions
    assert run_tally("schedule", "cnn", "--cron", NIGHTLY, "--name", "late").code == 0
    assert {one["display_name"] for one in replay.recurring.values()} == {"cnn", "late"}


@pytest.mark.parametrize(
    "faults",
    [["done then 503"], ["done then reset"], ["503"], ["reset", "500"],
     ["503", "done then 504"]],
    ids=" ".join,
)  # fmt: skip
def test_exactly_one_is_made_whatever_becomes_of_the_answer(
    run_tally, replay: Scheduling, faults: list[str]
) -> None:
    replay.faults["POST recurringruns"] = list(faults)
    done = run_tally("schedule", "cnn", "--cron", NIGHTLY)
    assert done.code == 0, done.err
    (one,) = replay.recurring.values()
    assert one["recurring_run_id"] in done.out


def test_where_nobody_can_tell_it_is_not_asked_for_again(run_tally, replay: Scheduling) -> None:
    replay.faults["GET recurringruns"] = ["ok", *["500"] * 200]
    replay.faults["POST recurringruns"] = ["done then reset"]
    done = run_tally("schedule", "cnn", "--cron", NIGHTLY)
    assert done.code == 1
    assert "expected to hear whether it was made" in done.err
    assert replay.seen["POST recurringruns"] == 1


def test_pause_and_resume_are_as_good_twice(
    run_tally, replay: Scheduling, made: dict[str, Any]
) -> None:
    def listed() -> dict[str, Any]:
        (row,) = json.loads(run_tally("schedule", "list", "--json").out)["schedules"]
        return dict(row)

    assert (listed()["state"], len(listed()["next"])) == ("enabled", 5)
    for _ in range(2):
        assert run_tally("schedule", "pause", "cnn").code == 0
        assert (listed()["state"], listed()["next"]) == ("paused", [])
    for _ in range(2):
        done = run_tally("schedule", "resume", made["recurring_run_id"][:8])
        assert done.code == 0 and "03:00:00" in done.out
        assert listed()["state"] == "enabled"


def test_a_resume_announces_the_run_that_kubeflow_may_start_at_once(
    run_tally, replay: Scheduling, made: dict[str, Any]
) -> None:
    told = "Kubeflow starts a run for the newest of them at once"
    assert told not in run_tally("schedule", "pause", "cnn").out
    assert told in run_tally("schedule", "resume", "cnn").out
    assert told not in run_tally("schedule", "resume", "cnn").out  # it was not paused


def test_what_was_made_elsewhere_is_listed_as_it_is(run_tally, replay: Scheduling) -> None:
    for row in recorded("40-list-recurring-runs")["response_body"]["recurringRuns"]:
        replay.recurring[row["recurring_run_id"]] = {**row, "mode": "ENABLE", "status": "ENABLED"}
    five = {**row, "recurring_run_id": str(uuid.uuid4()), "display_name": "five",
            "status": "ENABLED", "trigger": {"cron_schedule": {"cron": "25 * * * *"}}}  # fmt: skip
    replay.recurring[five["recurring_run_id"]] = five
    rows = json.loads(run_tally("schedule", "list", "--json").out)["schedules"]
    assert {one["name"]: (one["cron"], len(one["next"])) for one in rows} == {
        "every": ("@every 40s", 5), "five": ("25 * * * *", 0), "six-minute": ("0 * * * * *", 5),
    }  # fmt: skip
