"""A run on Kubeflow ends with its bill, from a real meter; without one it ends as it ended."""

import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.contract.recordings import FAILURE
from helpers.contract.replay import Replay
from helpers.metered_runs import HOUR, NOON, life, node, run
from helpers.served_meter import Meter, served_meter, token_of
from tally.runs.kubeflow import ending

pytestmark = pytest.mark.slow


@pytest.fixture
def meter(
    replay: Replay, run_tally: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Meter]:
    """A meter that has an hour of each run."""
    folder = tmp_path / "meter"
    folder.mkdir()
    with served_meter(folder, monkeypatch) as meter:
        meter.ledger.write_nodes([node()])

        def created(server: Replay) -> None:
            run_id = list(server.runs)[-1]
            ended = {"state": "succeeded", "ended_at_microseconds": NOON}
            meter.ledger.put_new_runs([run(run_id, **ended)])
            meter.ledger.write_usage(life(f"pod-{run_id}", NOON - HOUR, NOON, run_id=run_id))

        replay.created = created
        (folder / "token").write_text(token_of("team-a"))
        monkeypatch.setenv("TALLY_METER_URL", meter.url)
        monkeypatch.setenv("TALLY_METER_TOKEN_FILE", str(folder / "token"))
        yield meter


def test_it_ends_with_the_meters_bill(run_tally, replay: Replay, meter: Meter) -> None:
    done = run_tally("submit", "cnn")
    assert done.code == 0, done.err
    run_id = replay.the_run()["run_id"]
    assert "Bill of" in done.out
    (total,) = re.findall(r"total[ │]+\$([\d.]+)", done.out)
    assert float(total) == pytest.approx(float(meter.ledger.bill(run_id).total_usd), abs=0.01)


def test_a_bill_is_waited_for_until_the_meter_has_closed_the_run(
    run_tally, replay: Replay, meter: Meter
) -> None:
    made, created = [], replay.created

    def still_runs(server: Replay) -> None:
        created(server)
        run_id = list(server.runs)[-1]
        meter.ledger.update_run(run_id, state="running", ended_at_microseconds=None)
        made.append(threading.Timer(4.0, closes, [run_id]))
        made[-1].start()

    def closes(run_id: str) -> None:
        late = life(f"late-{run_id}", NOON - HOUR, NOON, run_id=run_id)
        meter.ledger.write_usage(late)  # of a pod whose end came after Kubeflow's
        meter.ledger.update_run(run_id, state="succeeded", ended_at_microseconds=NOON)

    replay.created = still_runs
    done = run_tally("submit", "cnn", "--json")
    made[0].join()
    assert done.code == 0, done.err
    said, bill = json.loads(done.out), meter.ledger.bill(replay.the_run()["run_id"])
    assert said["bill_is_final"] is True
    assert said["cost_usd"] == float(bill.total_usd)


def test_a_run_that_is_not_closed_in_time_has_a_bill_so_far(
    run_tally, replay: Replay, meter: Meter, monkeypatch: pytest.MonkeyPatch
) -> None:
    created = replay.created

    def still_runs(server: Replay) -> None:
        created(server)
        run_id = list(server.runs)[-1]
        meter.ledger.update_run(run_id, state="running", ended_at_microseconds=None)

    replay.created = still_runs
    monkeypatch.setattr(ending, "FINAL_SECONDS", 1.5)
    done = run_tally("submit", "cnn")
    assert done.code == 0, done.err
    assert "so far: the meter has not closed the run" in done.out
    assert json.loads(run_tally("submit", "cnn", "--json").out)["bill_is_final"] is False


def test_so_it_does_where_it_failed(run_tally, replay: Replay, meter: Meter) -> None:
    replay.story = FAILURE
    done = run_tally("submit", "cnn", "--json")
    assert done.code == 1
    said, bill = json.loads(done.out), meter.ledger.bill(replay.the_run()["run_id"])
    assert said["cost_usd"] == pytest.approx(float(bill.total_usd))
    assert said["error"] == "train: RuntimeError: bad thing: hello"


def test_a_list_of_runs_has_their_costs(run_tally, replay: Replay, meter: Meter) -> None:
    run_tally("submit", "cnn")
    (row,) = json.loads(run_tally("runs", "--json").out)["runs"]
    assert row["cost_usd"] == pytest.approx(float(meter.ledger.bill(row["id"]).total_usd))


def test_a_meter_that_does_not_answer_changes_no_exit_code(
    run_tally, meter: Meter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ending, "BILL_SECONDS", 0.2)
    monkeypatch.setattr(ending, "FINAL_SECONDS", 0.5)
    monkeypatch.setenv("TALLY_METER_URL", "http://127.0.0.1:9")
    done = run_tally("submit", "cnn")
    assert done.code == 0
    assert "shows the bill later" in done.out
