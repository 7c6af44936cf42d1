"""The meter's process is killed while a run is followed: what is said of it, and the bill."""

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from helpers.contract.replay import Replay
from helpers.meter.process import Process, lease, until
from helpers.meter.standin import ApiStandIn
from helpers.meter.told import node, recorded
from tally import meterclient
from tally.costing.ledger import open_ledger
from tally.runs.kubeflow import ending, hearing
from tally.runs.kubeflow.hearing import BACK, GONE
from tally.runs.kubeflow.showing import Lines

pytestmark = pytest.mark.slow

ENDED = ["14-get-run-succeeded"]


def text(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


@dataclass(frozen=True)
class Run:
    """The one run, as the cluster has it: a Workflow with a pod of its train step.

    Attributes:
        said: the lines of whoever follows it.
    """

    replay: Replay
    api: ApiStandIn
    meter: Process
    said: list[str]
    began: int

    @property
    def id(self) -> str:
        return str(self.replay.the_run()["run_id"])

    def put(self, phase: str, ended: int = 0) -> None:
        """Workflow and pod are in this phase; the pod's end."""
        pod = recorded("kfp-executor")
        meta, status = pod["metadata"], pod["status"]
        meta |= {"creationTimestamp": text(self.began), "uid": f"pod-{self.id}"}
        meta["labels"] |= {"pipeline/runid": self.id, "tally.dev/step": "train"}
        state: dict[str, Any] = {"running": {"startedAt": text(self.began)}}
        if ended:
            times = {"startedAt": text(self.began), "finishedAt": text(ended)}
            state = {"terminated": {"exitCode": 0, **times}}
        for one in status["conditions"]:
            one["lastTransitionTime"] = text(self.began)
        for container in status["containerStatuses"]:
            container["state"] = state
        workflow = {
            "metadata": {
                "name": meta["labels"]["workflows.argoproj.io/workflow"], "uid": "w",
                "namespace": meta["namespace"], "labels": {"pipeline/runid": self.id},
                "creationTimestamp": text(self.began),
            },
            "status": {"phase": phase} | ({"finishedAt": text(ended)} if ended else {}),
        }  # fmt: skip
        self.api.put("workflows", workflow)
        self.api.put("pods", {**pod, "status": {**status, "phase": phase}})

    def is_metered(self) -> None:
        """Wait until the meter has it."""
        until(lambda: self.replay.runs)
        self.put("Running")
        until(lambda: self.meter.run(self.id))

    def is_followed(self, looks: int) -> None:
        """Wait until it was looked at so often more."""
        wanted = self.replay.seen["GET runs/*"] + looks
        until(lambda: self.replay.seen["GET runs/*"] >= wanted)

    def ends(self) -> None:
        """Kubeflow says so."""
        self.replay._left[self.id] = list(ENDED)

    def total_usd(self) -> float:
        """Of its bill in the ledger."""
        with open_ledger(self.meter.url) as ledger:
            return float(ledger.bill(self.id).total_usd)


@pytest.fixture
def run(
    replay: Replay, run_tally: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Run]:
    """It goes on until it `ends`; the meter is asked often and not for long."""
    replay.story = ["12-get-run-running"]
    said: list[str] = []
    note = Lines.note

    def noted(lines: Lines, line: str) -> None:
        note(lines, line)
        said.append(line)

    monkeypatch.setattr(Lines, "note", noted)
    monkeypatch.setattr(hearing, "LOOK_SECONDS", 0.1)
    monkeypatch.setattr(meterclient, "SECONDS", 3.0)
    monkeypatch.setattr(ending, "BILL_SECONDS", 1.0)
    api = ApiStandIn()
    api.has_workflows = True
    api.start()
    api.put("nodes", node(), "ADDED")
    api.put("leases", lease(), "ADDED")
    folder = tmp_path / "meter"
    folder.mkdir()
    meter = Process(folder, api)
    (folder / "token").write_text("good.kubeflow.pipeline-runner")
    monkeypatch.setenv("TALLY_METER_URL", f"http://127.0.0.1:{meter.port}")
    monkeypatch.setenv("TALLY_METER_TOKEN_FILE", str(folder / "token"))
    until(lambda: meter.health()[0] == 200)
    yield Run(replay, api, meter, said, int(time.time()) - 100)
    meter.kill()
    api.stop()


def beside(run: Run, command: Callable[[], Any], work: Callable[[], None]) -> Any:
    """What the command says; the work is done meanwhile, and then the run ends."""

    def all_of_it() -> None:
        try:
            work()
        finally:
            run.ends()

    with ThreadPoolExecutor(1) as thread:
        done = thread.submit(all_of_it)
        said = command()
        done.result(60)
    return said


def of_the_meter(lines: list[str]) -> list[str]:
    return [line for line in lines if "answer" in line]


def test_it_is_said_once_that_it_is_gone_and_once_that_it_is_back_and_the_bill_is_whole(
    run_tally, run: Run
) -> None:
    ended = run.began + 90

    def work() -> None:
        run.is_metered()
        run.meter.kill()
        until(lambda: GONE in run.said)
        run.is_followed(looks=100)
        run.put("Succeeded", ended)  # while nobody meters it
        run.meter.start()
        until(lambda: BACK in run.said)
        run.is_followed(looks=20)

    done = beside(run, lambda: run_tally("submit", "cnn", "--json"), work)
    assert done.code == 0, done.err
    assert of_the_meter(done.err.splitlines()) == [GONE, BACK]
    said = json.loads(done.out)
    assert said["bill_is_final"] is True and said["cost_usd"] == run.total_usd() > 0
    (work_line,) = (line for line in said["bill"]["lines"] if line["phase"] == "work")
    assert (work_line["step"], work_line["seconds"]) == ("train", 90)


def test_one_that_does_not_come_back_leaves_the_run_alone_and_a_line_says_how_to_see_its_bill(
    run_tally, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ending, "FINAL_SECONDS", 1.0)

    def work() -> None:
        run.is_metered()
        run.meter.kill()
        until(lambda: GONE in run.said)
        run.is_followed(looks=100)
        run.put("Succeeded", run.began + 90)

    done = beside(run, lambda: run_tally("submit", "cnn"), work)
    assert done.code == 0, done.err
    gone, remedy = of_the_meter(done.out.splitlines() + done.err.splitlines())
    assert gone == GONE
    assert remedy.startswith("the meter: expected an answer of http://127.0.0.1:")
    assert remedy.endswith(f"(`make bill RUN={run.id}` shows the bill later)")
    run.meter.start()
    until(lambda: (record := run.meter.run(run.id)) and record.ended_at_microseconds)
    bill = run_tally("bill", run.id, "--json")
    assert bill.code == 0, bill.err
    assert json.loads(bill.out)["total_usd"] == run.total_usd() > 0


def test_one_that_is_killed_at_the_end_is_waited_for(
    run_tally, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hearing, "LOOK_SECONDS", 600.0)

    def work() -> None:
        run.is_metered()
        run.meter.kill()
        run.put("Succeeded", run.began + 90)
        run.ends()
        until(lambda: any(line.startswith("bill: succeeded") for line in run.said))
        time.sleep(2)  # it is asked for the bill, and does not answer
        run.meter.start()

    done = beside(run, lambda: run_tally("submit", "cnn", "--json"), work)
    assert done.code == 0, done.err
    said = json.loads(done.out)
    assert said["bill_is_final"] is True and said["cost_usd"] == run.total_usd() > 0
    assert of_the_meter(done.err.splitlines()) == []
