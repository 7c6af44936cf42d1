"""`tally report`, `bill --by` and `export` on Kubeflow's runs, from a real meter."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.contract.replay import Replay
from helpers.metered_runs import HOUR, NOON, life, node, run
from helpers.served_meter import Meter, served_meter, token_of
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
    for words in (run_id, "91.3", "test_loss", "epoch 1", "team team-a", "no confusion matrix"):
        assert words in page
    total = meter.ledger.bill(run_id).total_usd
    assert f"${total:.2f}" in page
