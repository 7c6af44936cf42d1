"""Two namespaces with runs of one id, as a label that anybody may write has it: nothing that one of
them shows or posts is in the other's record, state, metrics, quote, events, budget, bill or series.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from helpers.metered_runs import HOUR, NOON, SECOND, life, node, run
from helpers.served_meter import OWN, Meter, served_meter, token_of
from tally.meter.exposition import Exposition, MeterState
from tally.meter.health import Health
from tally.meter.snapshot import take
from tally.meter.writing import Unwritten, write

START = NOON - HOUR


@dataclass(frozen=True)
class Team:
    """A namespace with a run "run-a": its pod's uid, and what is its own about it."""

    name: str
    pod: str
    pipeline: str
    state: str
    attempt: int
    accuracy: float
    budget_usd: float


OURS = Team("team-a", "pod-a", "cnn", "succeeded", 1, 0.98, 5.0)
THEIRS = Team("team-b", "pod-b", "gan", "failed", 3, 0.11, 0.01)


def shows(meter: Meter, team: Team) -> None:
    """Its pods, as the meter sees and writes them, and how its run ended."""
    begun = run(team=team.name, pipeline=team.pipeline, created_at_microseconds=START)
    ended = replace(
        begun, state=team.state, attempt=team.attempt, ended_at_microseconds=NOON - HOUR // 2
    )
    whose = {"namespace": team.name, "team": team.name, "pipeline": team.pipeline}
    unwritten = Unwritten(Health())
    unwritten.add(life(team.pod, START, NOON - HOUR // 2, worker="0", **whose), [node()])
    unwritten.add_runs([begun], [ended])
    write(meter.ledger, unwritten.take())


def posts(meter: Meter, team: Team) -> None:
    """What its steps and its conductor tell of the run; of the other's pod too."""
    quote = {
        "made_at_microseconds": START, "low_usd": 1.0, "expected_usd": 2.0,
        "high_usd": 2 * team.budget_usd, "budget_usd": team.budget_usd, "document": {},
    }  # fmt: skip
    note = {"at_microseconds": START, "kind": "note", "facts": {"text": "the same of both"}}
    measured = {"test_accuracy": team.accuracy, "examples_trained": 100 * team.attempt}
    events = [note, {"at_microseconds": NOON, "kind": "measured", "facts": measured}]
    lost = {
        "phase": "restart", "start_microseconds": START + 30 * SECOND,
        "end_microseconds": START + (60 + team.attempt) * SECOND,
        "heartbeat_at_microseconds": NOON, "wait_seconds": 1.0 * team.attempt,
    }  # fmt: skip
    usage = [{**lost, "pod_uid": one.pod} for one in (OURS, THEIRS)]
    for what, told in (("quote", quote), ("events", events), ("usage", usage)):
        path = f"/v1/runs/run-a/{what}"
        status, answer = meter.ask("POST", path, token_of(team.name), body={what: told})
        assert status == 200, answer
        if what == "usage":
            assert answer["unknown_pods"] == [one.pod for one in (OURS, THEIRS) if one != team]


def seen(meter: Meter, team: Team) -> dict[str, Any]:
    """All that the meter says of this team's run: to itself, and to everybody on /metrics."""
    token = token_of(team.name)
    found = {}
    for path in ("/v1/runs", *(f"/v1/runs/run-a/{what}" for what in WHATS)):
        status, found[path] = meter.ask("GET", path, token)
        assert status == 200, found[path]
        asked = f"{path}?namespace={team.name}"
        if path != "/v1/runs":
            assert meter.ask("GET", asked, token_of(OWN)) == (200, found[path])
    found["series"] = series(meter, team)
    return found


def series(meter: Meter, team: Team) -> list[str]:
    exposition = Exposition()
    exposition.show(take(meter.ledger, NOON))
    text = exposition.text(MeterState(last_write_microseconds=None, ledger_errors=0)).decode()
    of_run = (line for line in text.splitlines() if 'run="run-a"' in line)
    return sorted(line for line in of_run if f'team="{team.name}"' in line)


WHATS = ("bill", "quote", "events", "usage")
Steps = list[Callable[[Meter], None]]


def orders() -> dict[str, Steps]:
    """What the two do, in every order that makes sense."""
    ours: Steps = [lambda meter: shows(meter, OURS), lambda meter: posts(meter, OURS)]
    theirs: Steps = [lambda meter: shows(meter, THEIRS), lambda meter: posts(meter, THEIRS)]
    return {
        "before": [*theirs, *ours],
        "after": [*ours, *theirs],
        "between": [ours[0], *theirs, ours[1]],
        "at once": [theirs[0], ours[0], theirs[1], ours[1]],
    }


@pytest.mark.parametrize("order", orders())
def test_a_strangers_run_of_the_same_id_is_nothing_of_ones_own(
    order: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone: dict[str, Any] = {}
    for team in (OURS, THEIRS):
        folder = tmp_path / team.name
        folder.mkdir()
        with served_meter(folder, monkeypatch, now=lambda: NOON) as meter:
            shows(meter, team)
            posts(meter, team)
            alone[team.name] = seen(meter, team)
    with served_meter(tmp_path, monkeypatch, now=lambda: NOON) as meter:
        for step in orders()[order]:
            step(meter)
        for team in (OURS, THEIRS):
            assert seen(meter, team) == alone[team.name]
            assert says_its_own(alone[team.name], team)
        both = meter.ask("GET", "/v1/runs", token_of(OWN))[1]["runs"]
        assert {row["run"]["team"]: row["bill"] for row in both} == {
            name: found["/v1/runs/run-a/bill"]["bill"] for name, found in alone.items()
        }


def says_its_own(found: dict[str, Any], team: Team) -> bool:
    """That what was compared above is the team's, and not nothing."""
    (row,) = found["/v1/runs"]["runs"]
    record, bill = row["run"], found["/v1/runs/run-a/bill"]["bill"]
    budget = found["/v1/runs/run-a/quote"]["quote"]["budget_usd"]
    assert (record["team"], record["pipeline"], record["state"]) == (
        team.name, team.pipeline, team.state,
    )  # fmt: skip
    assert record["metrics"] == {"test_accuracy": team.accuracy}
    assert (record["attempt"], budget) == (team.attempt, team.budget_usd)
    assert (bill["pipeline"], bill["examples"]) == (team.pipeline, 100 * team.attempt)
    assert len(found["/v1/runs/run-a/events"]["events"]) == 2
    assert {line.split("{")[0] for line in found["series"]} >= {
        "tally_cost_usd_total", "tally_time_usd_total", "tally_quote_usd", "tally_budget_usd",
    }  # fmt: skip
    assert all(f'pipeline="{team.pipeline}"' in line for line in found["series"])
    return True


def test_a_pod_alone_gives_its_namespace_no_word_in_anothers_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The label shown by a pod first, before the rightful run has a pod or a record."""
    with served_meter(tmp_path, monkeypatch, now=lambda: NOON) as meter:
        whose = {"namespace": THEIRS.name, "team": THEIRS.name}
        meter.ledger.write_usage(life(THEIRS.pod, START, NOON, worker="0", **whose))
        posts(meter, THEIRS)
        assert meter.ledger.run("run-a") is None
        shows(meter, OURS)
        assert meter.ask("GET", "/v1/runs/run-a/quote")[1]["quote"] is None
        assert meter.ask("GET", "/v1/runs/run-a/events")[1]["events"] == []
        posts(meter, OURS)
        assert meter.ledger.run("run-a", OURS.name).metrics == {"test_accuracy": OURS.accuracy}
        budgets = [line for line in series(meter, OURS) if line.startswith("tally_budget_usd")]
        assert [line.split()[-1] for line in budgets] == [str(OURS.budget_usd)]
