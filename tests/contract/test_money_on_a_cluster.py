"""`tally report`, `bill --by` and `export` on Kubeflow's runs, from a real meter."""

import csv
import io
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from helpers.contract.replay import Replay
from helpers.metered_runs import HOUR, NOON, life, node, pod, run
from helpers.money_commands import commands_agree
from helpers.served_meter import OWN, Meter, served_meter, token_of
from tally.costing.quotes import RunEvent

pytestmark = pytest.mark.slow


@pytest.fixture
def meter(
    replay: Replay, run_tally: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Meter]:
    """A meter, and team-a's token for it."""
    folder = tmp_path / "meter"
    folder.mkdir()
    with served_meter(folder, monkeypatch) as meter:
        meter.ledger.write_nodes([node()])
        (folder / "token").write_text(token_of("team-a"))
        monkeypatch.setenv("TALLY_METER_URL", meter.url)
        monkeypatch.setenv("TALLY_METER_TOKEN_FILE", str(folder / "token"))
        yield meter


@pytest.fixture
def run_id(run_tally, replay: Replay, meter: Meter) -> str:
    """Of a run that has succeeded, with an hour of its pod."""

    def created(server: Replay) -> None:
        made = list(server.runs)[-1]
        meter.ledger.put_new_runs([
            run(made, state="succeeded", ended_at_microseconds=NOON,
                metrics={"test_accuracy": 0.913, "test_loss": 0.25})
        ])  # fmt: skip
        meter.ledger.write_usage(life(f"pod-{made}", NOON - HOUR, NOON, run_id=made))

    replay.created = created
    assert run_tally("submit", "cnn").code == 0
    return str(replay.the_run()["run_id"])


def test_a_runs_page_is_made_of_what_the_meter_has(
    run_tally, meter: Meter, run_id: str, tmp_path: Path
) -> None:
    facts = {"epoch": 0, "loss": 0.5, "accuracy": 0.8, "seconds": 60.0}
    told = [("step_started", {}), ("epoch", facts), ("step_ended", {})]
    meter.ledger.write_events([
        RunEvent(run_id=run_id, namespace="team-a", at_microseconds=NOON - HOUR + 60 * index,
                 kind=kind, step="train", facts=fact)
        for index, (kind, fact) in enumerate(told, 1)
    ])  # fmt: skip
    out = tmp_path / "page.html"
    done = run_tally("report", run_id, "--out", str(out))
    assert (done.code, done.out.strip()) == (0, str(out)), done.err
    page = out.read_text()
    for words in (run_id, "91.3", "test_loss", "epoch 1", "team team-a", "no measures by example"):
        assert words in page
    total = meter.ledger.bill(run_id).total_usd
    assert f"${total:.2f}" in page


@pytest.fixture
def as_reader(meter: Meter, tmp_path: Path) -> None:
    """The commands' token is of the meter's own namespace, which may read everything."""
    (tmp_path / "meter" / "token").write_text(token_of(OWN))


def test_who_pays_is_asked_of_the_meter_and_what_is_left_out_is_said(
    run_tally, meter: Meter, run_id: str
) -> None:
    other = {"run_id": "run-b", "namespace": "team-b", "team": "team-b"}
    meter.ledger.write_usage(life("pod-b", NOON - HOUR, NOON, **other))
    done = run_tally("bill", "--by", "team,month", "--json")
    assert done.code == 0, done.err
    (line,) = done.err.splitlines()
    assert line.startswith("left out: idle, overhead and namespaces")
    said = json.loads(done.out)
    (row,) = said["lines"]
    assert (row["team"], row["month"], row["kind"]) == ("team-a", "2024-10", "workload")
    bill = meter.ledger.bill(run_id)
    assert row["hardware_usd"] == float(bill.hardware_usd) > 0
    later = run_tally("bill", "--by", "team", "--since", "2024-10-05", "--json")
    assert json.loads(later.out)["lines"] == []


@pytest.mark.usefixtures("as_reader")
def test_a_reader_sees_all_and_a_runs_lines_need_no_nodes(
    run_tally, meter: Meter, run_id: str
) -> None:
    done = run_tally("bill", "--by", "team", "--csv")
    assert (done.code, done.err) == (0, "")
    rows = list(csv.DictReader(io.StringIO(done.out)))
    assert [(row["team"], row["kind"]) for row in rows] == [
        ("", "idle"), ("", "overhead"), ("team-a", "workload"),
    ]  # fmt: skip
    told = json.loads(run_tally("bill", run_id[:8], "--json").out)
    assert told["total_usd"] == float(meter.ledger.bill(run_id).total_usd)
    own = run_tally("bill", run_id[:8], "--csv")
    assert (own.code, own.err) == (0, "")
    rows = list(csv.DictReader(io.StringIO(own.out)))
    bill = meter.ledger.bill(run_id)
    assert {(row["step"], row["phase"]): Decimal(row["hardware_usd"]) for row in rows} == {
        (line.step, line.phase): line.hardware_usd for line in bill.lines
    }


@pytest.mark.usefixtures("as_reader")
def test_the_export_adds_up_and_an_empty_one_is_refused(
    run_tally, meter: Meter, run_id: str, tmp_path: Path
) -> None:
    out = tmp_path / "focus.csv"
    done = run_tally("export", "--out", str(out))
    assert done.code == 0, done.err
    rows = list(csv.DictReader(io.StringIO(out.read_text())))
    assert {row["x_Kind"] for row in rows} == {"workload", "idle", "overhead"}
    told = json.loads(run_tally("bill", "--by", "run", "--json").out)
    billed = sum(Decimal(row["BilledCost"]) for row in rows)
    assert float(billed) == told["total"]["total_usd"]
    done = run_tally("export", "--out", str(out), "--since", "2024-10-05")
    assert done.code == 2 and "expected charges from 2024-10-05 to now, got none" in done.err


def test_every_command_says_the_same_of_a_run(
    run_tally, replay: Replay, meter: Meter, run_id: str, tmp_path: Path
) -> None:
    assert run_tally("submit", "cnn", "--set", "epochs=2").code == 0

    def does(*words: str) -> str:
        done = run_tally(*words)
        assert done.code == 0, done.err
        return str(done.out)

    other = list(replay.runs)[-1]
    commands_agree(does, run_id, other, ("prepare", "train", "evaluate", "bill"), tmp_path)


@pytest.mark.usefixtures("as_reader")
def test_of_two_runs_of_one_id_every_command_takes_the_namespaces(
    run_tally, replay: Replay, meter: Meter, run_id: str, tmp_path: Path
) -> None:
    assert run_tally("submit", "cnn").code == 0
    other = list(replay.runs)[-1]
    meter.ledger.put_new_runs([run(one, team="team-b") for one in (run_id, other)])
    whose = {"run_id": run_id, "namespace": "team-b", "team": "team-b"}
    meter.ledger.write_usage(life("pod-b", NOON - HOUR // 4, NOON, **whose))
    out = ("--out", str(tmp_path / "page.html"))
    asked = {
        "bill": (run_id, "--json"), "bill --by": (run_id, "--by", "team", "--csv"),
        "report": (run_id, *out), "compare": (f"{run_id},{other}", "--json"),
    }  # fmt: skip
    for command, words in asked.items():
        done = run_tally(command.split()[0], *words)
        assert done.code == 2 and len(done.err.splitlines()) == 1, command
        assert "namespaces team-a, team-b; choose one by NAMESPACE=" in done.err
    for team in ("team-a", "team-b"):
        said = {}
        for command, words in asked.items():
            done = run_tally(command.split()[0], *words, "--namespace", team)
            assert done.code == 0, done.err
            said[command] = done.out
        total = meter.ledger.bill(run_id, team).total_usd
        assert json.loads(said["bill"])["total_usd"] == float(total)
        assert json.loads(said["compare"])["runs"][0]["bill"]["total_usd"] == float(total)
        (row,) = csv.DictReader(io.StringIO(said["bill --by"]))
        assert row["team"] == team
        assert f"team {team}" in (tmp_path / "page.html").read_text()


def test_what_has_no_price_is_refused(run_tally, meter: Meter, run_id: str) -> None:
    free = {"machine_type": "odd-8", "price_usd_per_hour": 0.0, "catalogue_version": ""}
    meter.ledger.write_usage([pod("pod-f", "work", NOON - HOUR, NOON, node_uid="n", **free)])
    done = run_tally("bill", "--by", "team")
    assert done.code == 2 and "machine_types.odd-8" in done.err


def test_without_a_meter_it_is_asked_for_and_this_machine_stays_at_hand(run_tally) -> None:
    for command in (("bill", "--by", "team"), ("export",), ("bill", "0199a3c0")):
        done = run_tally(*command)
        assert done.code == 2 and "TALLY_METER_URL: expected the address" in done.err
        assert len(done.err.splitlines()) == 1
    assert run_tally("bill", "--by", "team", "--engine", "local").code == 0
