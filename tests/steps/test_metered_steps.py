"""Steps as in pods: their usage, events, measures and bill go through a real meter."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.made_step import made_step
from helpers.metered_runs import HOUR, NOON, SECOND, life, node, run
from helpers.served_meter import Meter, served_meter, token_of
from tally import clock
from tally.gang.coordinator.events import Observation
from tally.gang.gang import WorkerChange
from tally.learning import checkpoint
from tally.steps.lost_work import count_lost_work
from tally.steps.outbox import Outbox
from tally.steps.pod_rows import PodRows
from tally.steps.step import Step
from tally.steps.worker_rows import WorkerRows, rows_of

START = NOON - HOUR
BEGUN = START + 25 * SECOND


@pytest.fixture
def meter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Meter]:
    (tmp_path / "token").write_text(token_of("team-a"))
    with served_meter(tmp_path, monkeypatch) as meter:
        monkeypatch.setenv("TALLY_METER_URL", meter.url)
        monkeypatch.setenv("TALLY_METER_TOKEN_FILE", str(tmp_path / "token"))
        monkeypatch.setenv("TALLY_RUN_ID", "run-a")
        monkeypatch.setenv("TALLY_PIPELINE", "cnn")
        meter.ledger.write_nodes([node()])
        meter.ledger.put_new_runs([run()])
        for uid, worker in (("pod-0", "0"), ("pod-1", "1"), ("pod-2", "1")):
            rows = life(uid, START, NOON, worker=worker)
            meter.ledger.write_usage(rows)
        yield meter


def step_of(folder: Path, **changes: object) -> Step:
    outbox = Outbox("run-a", pace_seconds=60)
    usual = {"run_id": "run-a", "pipeline": "cnn", "submit_pid": 0}
    return made_step(folder, outbox=outbox, **{**usual, **changes})


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120,
        env={**os.environ, **environment},
    )  # fmt: skip


def observed(wait_seconds: float) -> Observation:
    nan = float("nan")
    return Observation(1, 1, nan, nan, nan, wait_seconds, nan, nan)


def at(monkeypatch: pytest.MonkeyPatch, now: int) -> None:
    monkeypatch.setattr(clock, "now_microseconds", lambda: now)


def test_a_gang_of_pods_tells_its_starts_works_waits_and_ends(
    meter: Meter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = step_of(tmp_path)
    rows = PodRows(here, here.outbox)

    def change(
        worker: str, uid: str, state: str, when: int, replacement: bool, **why: object
    ) -> None:
        rows.change(
            WorkerChange(worker=worker, uid=uid, state=state, at_microseconds=when, **why),
            replacement,
        )

    minute = 60 * SECOND
    change("0", "pod-0", "started", BEGUN, False)
    change("1", "pod-1", "started", BEGUN, False)
    at(monkeypatch, BEGUN + minute)
    rows.work(["0", "1"], 1)
    at(monkeypatch, BEGUN + 5 * minute)
    rows.waited("0", observed(30.0))
    rows.waited("1", observed(float("nan")))
    killed = {"cause": "oom", "reason": "OOMKilled", "memory_limit_bytes": 2 << 30}
    change("1", "pod-1", "ended", BEGUN + 6 * minute, True, **killed)
    change("1", "pod-2", "started", BEGUN + 7 * minute, True)
    change("1", "pod-1", "ended", BEGUN + 8 * minute, True)  # told twice: not the new one's end
    at(monkeypatch, BEGUN + 9 * minute)
    rows.work(["0", "1"], 2)
    at(monkeypatch, BEGUN + 20 * minute)
    rows.end()
    assert here.outbox.close(10) == ""
    found = sorted(
        (row.pod_uid, row.phase, row.start_microseconds - BEGUN, row.end_microseconds - BEGUN,
         row.generation, row.wait_seconds)
        for row in meter.ledger.usage(["run-a"])
        if row.source == "conductor"
    )  # fmt: skip
    assert [(u, p, s // minute, e // minute, g, w) for u, p, s, e, g, w in found] == [
        ("pod-0", "startup", 0, 1, 0, 0.0),
        ("pod-0", "work", 1, 20, 1, 30.0),
        ("pod-1", "startup", 0, 1, 0, 0.0),
        ("pod-1", "work", 1, 6, 1, 0.0),
        ("pod-2", "restart", 7, 9, 0, 0.0),
        ("pod-2", "work", 9, 20, 2, 0.0),
    ]
    (event,) = meter.ledger.events("run-a")
    assert (event.kind, event.facts["worker"], event.facts["reason"]) == ("oom", "1", "OOMKilled")
    assert event.facts["memory_limit_bytes"] == 2 << 30  # what the next run is sized by
    lines = {line.phase: line.seconds for line in meter.ledger.bill("run-a").lines}
    assert lines["restart"] == 120


def test_work_that_an_earlier_attempt_lost_is_restart_at_the_meter(
    meter: Meter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = step_of(tmp_path)
    rows = PodRows(first, first.outbox)
    at(monkeypatch, BEGUN)
    rows.change(
        WorkerChange(worker="0", uid="pod-0", state="started", at_microseconds=BEGUN), False
    )
    rows.work(["0"], 1)
    at(monkeypatch, BEGUN + 600 * SECOND)
    rows.end()
    assert first.outbox.close(10) == ""
    saved = type("Saved", (), {"saved_at_microseconds": BEGUN + 500 * SECOND})()
    monkeypatch.setattr(checkpoint, "latest", lambda *_: saved)
    second = step_of(tmp_path, attempt=2)  # another pod: its own ledger knows nothing
    count_lost_work(second, tmp_path, 3)  # as where a gang starts afresh in mid-run
    rows = PodRows(second, second.outbox)
    rows.change(
        WorkerChange(
            worker="1", uid="pod-2", state="started", at_microseconds=BEGUN + 700 * SECOND
        ),
        False,
    )
    at(monkeypatch, BEGUN + 710 * SECOND)
    rows.work(["1"], 1)
    at(monkeypatch, BEGUN + 800 * SECOND)
    rows.end()
    assert second.outbox.close(10) == ""
    lines = {line.phase: line.seconds for line in meter.ledger.bill("run-a").lines}
    assert lines["restart"] == 100 + 10
    assert [row.attempt for row in meter.ledger.usage(["run-a"]) if row.pod_uid == "pod-2"][-1] == 2


def test_only_a_conductor_in_a_cluster_tells_of_pods(meter: Meter, tmp_path: Path) -> None:
    assert isinstance(rows_of(step_of(tmp_path), 1), WorkerRows)
    assert isinstance(rows_of(step_of(tmp_path, in_pod=True), 1), PodRows)
    assert isinstance(rows_of(made_step(tmp_path), 1), WorkerRows)


STEP = """
from tally.steps.step import step
with step("train", cores=0) as here:
    here.event("progress", done=1, total=2, unit="examples")
    here.event("resize", workers=3, before=2, machine_type="")
    here.measured({"test_accuracy": 0.97}, examples_trained=1437)
    WORK
"""


def test_a_step_tells_its_events_and_what_it_measured(meter: Meter) -> None:
    done = python(STEP.replace("WORK", ""))
    assert done.returncode == 0, done.stderr
    told = {event.kind: event for event in meter.ledger.events("run-a")}
    assert list(told) == ["step_started", "resize", "measured", "step_ended"]
    assert told["resize"].facts == {"workers": 3, "before": 2, "machine_type": ""}
    record = meter.ledger.run("run-a")
    assert (record.metrics, record.examples_trained) == ({"test_accuracy": 0.97}, 1437)
    assert "the meter" not in done.stderr


def test_why_a_step_failed_is_told_too(meter: Meter) -> None:
    done = python(STEP.replace("WORK", "raise ValueError('no luck')"))
    assert done.returncode == 1
    *_, last = meter.ledger.events("run-a")
    assert last.kind == "failed" and "no luck" in last.facts["message"]


def test_a_step_whose_meter_is_away_does_its_work_and_says_what_is_missing(
    meter: Meter, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "from tally.steps import step as s; s.OUTBOX_SECONDS = 0.5" + STEP.replace("WORK", "")
    done = python(code, TALLY_METER_URL="http://127.0.0.1:9")
    assert done.returncode == 0
    assert "the meter: expected it to take all, got 4 rows and events left over" in done.stderr


BILL = """
import json, sys
from tally.steps.bill import run
print(json.dumps(run(sys.argv[1] if len(sys.argv) > 1 else "page.html")))
"""


def test_the_bill_step_in_a_pod_shows_the_meters_bill(meter: Meter, tmp_path: Path) -> None:
    done = python(f"import os; os.chdir({str(tmp_path)!r})" + BILL)
    assert done.returncode == 0, done.stderr
    totals = json.loads(done.stdout.splitlines()[-1])
    assert "Bill of cnn, run run-a" in done.stdout and "│ train" in done.stdout
    bill = meter.ledger.bill("run-a")
    assert totals["total_usd"] == float(bill.total_usd) and totals["hardware_usd"] > 0.1
    from tally.reports.artifacts import bill_html

    assert (tmp_path / "page.html").read_text() == bill_html(bill)


def test_a_pod_that_gets_no_token_does_its_work_and_says_why_there_is_no_bill(
    meter: Meter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TALLY_METER_TOKEN_FILE")
    monkeypatch.setenv("TALLY_POD", "bill-x")  # no account's token is mounted
    why = "expected this pod's service account token"
    done = python(STEP.replace("WORK", ""))  # which gives up at once
    assert done.returncode == 0
    assert "the meter: expected it to take all, got 4 rows" in done.stderr and why in done.stderr
    page = tmp_path / "page.html"
    bill = f"from tally.steps.bill import run; print('MADE', run({str(page)!r}))"
    done = python(bill)
    assert done.returncode == 0, done.stderr
    assert "MADE {}" in done.stdout and '"unbilled"' in done.stdout
    assert why.replace("'", "&#x27;") in page.read_text()


def test_a_local_step_knows_nothing_of_a_meter_even_where_the_user_has_one(
    meter: Meter, tmp_path: Path
) -> None:
    code = STEP.replace("WORK", "import sys; here.event('note', message=' '.join(sys.modules))")
    environment = {"TALLY_SUBMIT_PID": str(os.getpid()), "TALLY_ATTEMPT": "1"}
    done = python(code, **environment)
    assert done.returncode == 0, done.stderr
    (folder,) = Path(os.environ["TALLY_HOME"]).glob("runs/run-a")
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    (loaded,) = (set(e["message"].split()) for e in events if e["event"] == "note")
    assert "tally.steps.step" in loaded
    strange = {
        "tally.meterclient",
        "tally.meterhttp",
        "tally.steps.outbox",
        "urllib3",
        "kubernetes",
    }
    assert not loaded & strange
    assert not meter.ledger.events("run-a")
