"""`tally bill RUN`: from this machine's ledger, and of what it does not have, from the meter."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.command import tally
from helpers.metered_runs import HOUR, NOON, life, node, run
from helpers.served_meter import OWN, Meter, served_meter, token_of

RUN = "0191f0a0-0000-7000-8000-0123456789ab"


@pytest.fixture
def meter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Meter]:
    """A meter that has RUN, told of by the environment."""
    with served_meter(tmp_path, monkeypatch) as meter:
        meter.ledger.write_nodes([node()])
        meter.ledger.put_new_runs([run(RUN)])
        meter.ledger.write_usage(life("pod-a", NOON - HOUR, NOON, run_id=RUN))
        (tmp_path / "token").write_text(token_of("team-a"))
        monkeypatch.setenv("TALLY_METER_URL", meter.url)
        monkeypatch.setenv("TALLY_METER_TOKEN_FILE", str(tmp_path / "token"))
        yield meter


def test_a_run_of_the_cluster_is_billed_by_its_meter(meter: Meter, tally_home: Path) -> None:
    done = tally("bill", RUN, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == json.loads(json.dumps(meter.ledger.bill(RUN).as_json()))
    assert "sum" in tally("bill", RUN[-8:]).stdout


@pytest.mark.parametrize("text", [RUN, RUN[-8:]])
def test_of_two_runs_of_one_id_the_namespace_chooses(
    meter: Meter, tally_home: Path, tmp_path: Path, text: str
) -> None:
    (tmp_path / "token").write_text(token_of(OWN))
    meter.ledger.put_new_runs([run(RUN, team="team-b")])
    whose = {"run_id": RUN, "namespace": "team-b", "team": "team-b"}
    meter.ledger.write_usage(life("pod-b", NOON - HOUR // 2, NOON, **whose))
    done = tally("bill", text)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "of each of the namespaces team-a, team-b; choose one by NAMESPACE=" in done.stderr
    for team in ("team-a", "team-b"):
        bill = json.loads(json.dumps(meter.ledger.bill(RUN, team).as_json()))
        assert json.loads(tally("bill", text, "--json", "--namespace", team).stdout) == bill
        assert json.loads(tally("bill", text, "--json", NAMESPACE=team).stdout) == bill
    assert tally("bill", text, NAMESPACE="team-c").returncode == 2


def test_a_namespace_without_a_run_is_refused(tally_home: Path) -> None:
    done = tally("bill", "--by", "team", NAMESPACE="team-a")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "expected it beside a RUN, got team-a alone; pass BY=namespace" in done.stderr


def test_a_run_that_neither_has_is_one_line(meter: Meter, tally_home: Path) -> None:
    done = tally("bill", "nosuchrun")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "nosuchrun" in line


def test_without_a_run_and_a_name_it_says_what_it_expects(tally_home: Path) -> None:
    done = tally("bill")
    assert done.returncode == 2
    assert done.stderr == (
        "bill: expected a run, or names to group by, got neither; pass RUN or BY\n"
    )
