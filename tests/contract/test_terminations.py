"""A run that is terminated, where Argo lets its exit task run and where it cuts it off.

Which of them depends on how often Argo's controller looks: see README, DEFAULT_REQUEUE_TIME.
"""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers.contract.recordings import CANCELLED, UNSCHEDULABLE, with_exit_task
from helpers.contract.replay import Replay, interrupt_at
from helpers.metered_runs import HOUR, NOON, SECOND, life, node, run
from helpers.served_meter import Meter, served_meter, token_of

pytestmark = pytest.mark.slow

STORIES: dict[bool, list[Any]] = {
    True: [CANCELLED[0], with_exit_task("RUNNING"), with_exit_task("SUCCEEDED")],
    False: list(CANCELLED),
}


@pytest.fixture(params=[True, False], ids=["10 s", "1 s"])
def exit_task(request: pytest.FixtureRequest, replay: Replay) -> bool:
    """Whether the exit task of a run that is terminated runs."""
    replay.story = list(UNSCHEDULABLE)
    replay.cancelled = list(STORIES[request.param])
    return bool(request.param)


@pytest.fixture
def meter(
    replay: Replay, run_tally: object, exit_task: bool, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Meter]:  # fmt: skip
    """A meter that has the run's pods, and closes it once its end was asked for."""
    folder = tmp_path / "meter"
    folder.mkdir()
    with served_meter(folder, monkeypatch) as meter:
        meter.ledger.write_nodes([node()])

        def created(server: Replay) -> None:
            run_id = list(server.runs)[-1]
            meter.ledger.put_new_runs([run(run_id)])
            meter.ledger.write_usage(life(f"pod-{run_id}", NOON - HOUR, None, run_id=run_id))

        def looked(server: Replay) -> None:
            run_id = list(server.runs)[-1]
            if not server.seen["POST runs/*:terminate"] or meter.ledger.bill(run_id).is_final:
                return
            rows = life(f"pod-{run_id}", NOON - HOUR, NOON, run_id=run_id)
            if exit_task:
                late = {"run_id": run_id, "step": "bill"}
                rows += life(f"exit-{run_id}", NOON, NOON + 60 * SECOND, **late)
            meter.ledger.write_usage(rows)
            ended = NOON + 60 * SECOND * exit_task
            meter.ledger.update_run(run_id, state="cancelled", ended_at_microseconds=ended)

        replay.created, replay.looked = created, looked
        (folder / "token").write_text(token_of("team-a"))
        monkeypatch.setenv("TALLY_METER_URL", meter.url)
        monkeypatch.setenv("TALLY_METER_TOKEN_FILE", str(folder / "token"))
        yield meter


def both(*called: Callable[[Replay], None]) -> Callable[[Replay], None]:
    """One after the other."""

    def looked(replay: Replay) -> None:
        for one in called:
            one(replay)

    return looked


def test_a_run_that_is_cancelled_while_it_is_followed_ends_with_its_final_bill(
    run_tally, replay: Replay, meter: Meter, exit_task: bool
) -> None:
    replay.looked = both(replay.looked, interrupt_at(3))
    done = run_tally("submit", "cnn", "--cancel")
    run_id = str(replay.the_run()["run_id"])
    assert done.code == 130
    assert done.err.splitlines() == [f"cancelled: run {run_id} was cancelled"]
    lines = done.out.splitlines()
    ends = [line for line in lines if re.match(r"bill: (succeeded|skipped|failed|stopped)", line)]
    assert ends == ["bill: succeeded after 6 s" if exit_task else "bill: skipped"]
    assert "train: stopped after 2 min 19 s" in lines
    assert "so far" not in done.out
    bill = meter.ledger.bill(run_id)
    assert bill.is_final and bill.total_usd > 0
    (total,) = re.findall(r"total[ │]+\$([\d.]+)", done.out)
    assert float(total) == pytest.approx(float(bill.total_usd), abs=0.01)


def test_one_that_is_cancelled_by_another_command_is_billed_by_whoever_watches(
    run_tally, replay: Replay, meter: Meter, exit_task: bool
) -> None:
    closing = replay.looked
    replay.looked = both(closing, interrupt_at(2))
    assert run_tally("submit", "cnn").code == 0
    replay.looked = closing
    run_id = str(replay.the_run()["run_id"])
    done = run_tally("cancel", run_id)
    assert (done.code, done.out) == (0, f"cancelled {run_id}\n")
    watched = run_tally("watch", run_id, "--json")
    assert watched.code == 130
    said = json.loads(watched.out)
    assert said["state"] == "cancelled" and said["bill_is_final"] is True
    assert said["cost_usd"] == float(meter.ledger.bill(run_id).total_usd)
    assert {"train", *(["bill"] if exit_task else [])} == {
        line["step"] for line in said["bill"]["lines"]
    }
