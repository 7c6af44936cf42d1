"""Whole runs of the packaged pipelines and of the user's own file."""

import json
import os
import re
import subprocess
import time
from pathlib import Path

import pytest

from helpers.command import QUICK, TALLY, events, submit_json, tally
from helpers.ports import HeldPort
from tally.costing.ledger import open_ledger

PROJECT = Path(__file__).parents[2]
pytestmark = pytest.mark.usefixtures("one_home")

MINE = ["--set", "epochs=60", "--set", "learning_rate=0.01"]


@pytest.fixture(scope="module")
def cnn(home: Path) -> dict:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TALLY_HOME", str(home))
        began = time.time()
        return {**submit_json("cnn", *QUICK), "wall_seconds": time.time() - began}


def test_cnn_learns_and_every_step_is_billed(cnn: dict, home: Path) -> None:
    assert cnn["state"] == "succeeded"
    assert cnn["metrics"]["test_accuracy"] > 0.8  # one epoch, not enlarged
    steps = {line["step"] for line in cnn["bill"]["lines"]}
    assert {"submit", "prepare", "plan", "train", "evaluate", "bill"} <= steps
    ended = [event["step"] for event in events(home, cnn["id"]) if event["event"] == "step_ended"]
    assert ended == ["prepare", "plan", "train", "evaluate", "bill"]


def test_resume_of_a_finished_run_is_refused(cnn: dict) -> None:
    again = tally("resume", cnn["id"])
    assert again.returncode == 2 and "succeeded" in again.stderr and again.stderr.count("\n") == 1


def test_a_lone_runs_billed_time_is_its_wall_clock(cnn: dict) -> None:
    bill = open_ledger().bill(cnn["id"])
    assert bill.billed_seconds == pytest.approx(bill.wall_seconds, rel=1e-3)
    # seen from outside, printing the bill and leaving come on top: on a busy machine they take
    # longer, as does a command that does nothing else
    began = time.monotonic()
    assert tally("bill", cnn["id"]).returncode == 0
    printing_seconds = time.monotonic() - began
    assert 0 <= cnn["wall_seconds"] - bill.wall_seconds < 5 * (0.5 + printing_seconds)


def test_no_row_of_the_run_is_left_open(cnn: dict) -> None:
    rows = open_ledger().usage([cnn["id"]])
    assert rows and all(row.end_microseconds is not None for row in rows)
    worker = [row for row in rows if row.worker == "0" and row.phase == "work"]
    assert worker[0].cpu_used_core_seconds > 0.3
    assert worker[0].memory_used_byte_seconds > 1e8


def test_steps_that_need_no_tensorflow_import_none(cnn: dict, home: Path) -> None:
    logs = home / "runs" / cnn["id"] / "logs"
    assert {path.stem for path in logs.iterdir()} == {
        "engine", "prepare", "plan", "train", "evaluate", "bill",
    }  # fmt: skip
    seen = {
        event["step"]: event["tensorflow_imported"]
        for event in events(home, cnn["id"])
        if event["event"] == "step_ended"
    }
    assert seen == {
        "prepare": False, "plan": False, "train": False, "evaluate": True, "bill": False,
    }  # fmt: skip


def test_metrics_confusion_and_html_are_kfp_artifacts(cnn: dict, home: Path) -> None:
    folder = next((home / "runs" / cnn["id"] / "kfp" / "attempt-1").iterdir())
    said = json.loads((folder / "evaluate" / "executor_output.json").read_text())["artifacts"]
    metrics = said["metrics"]["artifacts"][0]["metadata"]
    assert metrics["test_accuracy"] == cnn["metrics"]["test_accuracy"]
    matrix = said["classes"]["artifacts"][0]["metadata"]["confusionMatrix"]
    assert len(matrix["rows"]) == 10
    assert "<html" in (folder / "evaluate" / "page").read_text().lower()
    assert "<html" in (folder / "bill" / "page").read_text().lower()


def test_runs_bill_logs_and_compare_find_it(cnn: dict) -> None:
    listed = json.loads(tally("runs", "--json").stdout)
    row = next(run for run in listed["runs"] if run["id"] == cnn["id"])
    assert listed["schema"] == 1
    assert row["state"] == "succeeded" and row["metrics"]["test_accuracy"] > 0.8
    assert row["cost_usd"] == pytest.approx(cnn["bill"]["total_usd"])
    assert json.loads(tally("bill", cnn["id"][:13], "--json").stdout) == cnn["bill"]
    assert "train" in tally("bill", cnn["id"]).stdout
    assert "Executing task" in tally("logs", cnn["id"], "--step", "engine").stdout
    compared = json.loads(tally("compare", f"{cnn['id']},{cnn['id']}", "--json").stdout)
    assert compared


def test_what_a_notebooks_pod_submits_trains_there_and_asks_no_api_server(home: Path) -> None:
    """Every pod has KUBERNETES_SERVICE_HOST; this one has no service account."""
    with HeldPort() as api_server:
        api_server.listen()
        api_server.setblocking(False)
        at = {"HOST": "127.0.0.1", "PORT": str(api_server.number)}
        inside = {f"KUBERNETES_SERVICE_{name}": value for name, value in at.items()}
        done = tally("submit", "cnn", *QUICK, "--json", HOSTNAME="mine-0", **inside)
        assert done.returncode == 0, done.stderr
        with pytest.raises(BlockingIOError):  # nobody is waiting at the door
            api_server.accept()
    run = json.loads(done.stdout)
    assert run["state"] == "succeeded" and run["metrics"]["test_accuracy"] > 0.8
    (worker,) = {row.pod_uid for row in open_ledger().usage([run["id"]]) if row.worker}
    assert worker.startswith(f"{os.uname().nodename}:")  # a process of this machine


@pytest.mark.slow
def test_prepare_reuses_by_content(cnn: dict, home: Path) -> None:
    again = submit_json("rnn", *QUICK)  # the same digits, for another model
    facts = [e for e in events(home, again["id"]) if e["step"] == "prepare" and "reused" in e]
    assert facts[-1]["reused"] is True
    assert again["metrics"]["test_accuracy"] > 0.3


@pytest.mark.slow
def test_the_users_own_file_gets_what_a_packaged_pipeline_gets(home: Path) -> None:
    mine = submit_json(str(PROJECT / "examples" / "mine.py"), *MINE)
    assert mine["pipeline"] == "mine"
    assert mine["metrics"]["test_accuracy"] >= 0.9
    page = tally("report", mine["id"]).stdout.strip()
    assert "<svg" in Path(page).read_text()


def test_readme_shows_the_example_as_it_is() -> None:
    readme = (PROJECT / "README.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    example = (PROJECT / "examples" / "mine.py").read_text()
    assert any(block.strip() in example for block in blocks)


@pytest.mark.slow
def test_two_runs_at_once_share_the_machine(home: Path) -> None:
    both = [
        subprocess.Popen([*TALLY, "submit", "cnn", *QUICK, "--json"], stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    said = [json.loads(process.communicate(timeout=120)[0]) for process in both]
    assert [run["state"] for run in said] == ["succeeded", "succeeded"]
    bills = [open_ledger().bill(run["id"]) for run in said]
    rows = [row for run in said for row in open_ledger().usage([run["id"]])]
    began = min(row.start_microseconds for row in rows)
    ended = max(row.stop_microseconds for row in rows)
    price = rows[0].price_usd_per_hour
    # together they cost the machine once, not twice
    union = price * (ended - began) / 3.6e9
    assert float(sum(bill.hardware_usd for bill in bills)) == pytest.approx(union, rel=1e-6)
    assert sum(bill.wall_seconds for bill in bills) > 1.5 * (ended - began) / 1e6
