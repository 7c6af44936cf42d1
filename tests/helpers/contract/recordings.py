"""What a real server answered (recorded/), and the stories that runs go through."""

import copy
import json
import re
from typing import Any

from helpers import TESTS

API = "/apis/v2beta1/"
RECORDED = TESTS / "contract" / "recorded"
# the recorded pipelines' tasks, as those of ours
TASKS = {"make": "prepare", "measure": "train", "report": "evaluate", "finish": "bill",
         "boom": "train", "slow": "train"}  # fmt: skip
SUCCESS = ["11-get-run-pending", "13-get-run-state-missing", "12-get-run-running",
           "14-get-run-succeeded"]  # fmt: skip
FAILURE = ["11-get-run-pending", "16-get-run-failed-step"]
UNSCHEDULABLE = ["11-get-run-pending", "17-get-run-running-unschedulable"]
# just after a retry was asked for the server still shows the end of before
RETRIED = ["16-get-run-failed-step", "12-get-run-running", "14-get-run-succeeded"]
CANCELLED = ["20-get-run-canceling", "21-get-run-terminated-ends-failed"]


def recorded(name: str) -> dict[str, Any]:
    """One recording: note, status, response_body, …"""
    return dict(json.loads((RECORDED / f"{name}.json").read_text()))


def answer_of(name: str) -> dict[str, Any]:
    """What the server answered there, its tasks called as ours."""
    said = copy.deepcopy(recorded(name)["response_body"])
    for row in (said.get("run_details") or {}).get("task_details") or []:
        if found := re.match(r"[a-z]+(?=$|-driver|\()", row.get("display_name") or ""):
            word = found[0]
            row["display_name"] = TASKS.get(word, word) + row["display_name"][len(word) :]
    said.pop("pipeline_spec", None)
    return dict(said)


def with_exit_task(task: str) -> dict[str, Any]:
    """A termination whose exit task is not cut off, made of CANCELLED: that task RUNNING or over.

    So a Kubeflow ends a run where Argo requeues each 10 s (3 of 3); no answer of it was kept.
    """
    said = answer_of(CANCELLED[1])
    rows = said["run_details"]["task_details"]
    (driver,) = (row for row in rows if row["display_name"] == "bill-driver")
    driver |= {"state": "SUCCEEDED", "end_time": "2026-11-23T19:06:57Z"}
    own = {**driver, "display_name": "bill", "start_time": "2026-11-23T19:07:07Z", "state": task,
           "end_time": "2026-11-23T19:07:13Z"}  # fmt: skip
    if task == "RUNNING":
        own["end_time"] = "0001-01-01T00:00:00Z"
        said |= {"state": "CANCELING", "finished_at": "1970-01-01T00:00:00Z"}
        said["state_history"].pop()
    rows.append(own)
    return said


def identity_of(run: dict[str, Any]) -> dict[str, Any]:
    """What tells a run from others."""
    kept = (
        "run_id",
        "display_name",
        "experiment_id",
        "pipeline_version_reference",
        "created_at",
        "runtime_config",
    )
    return {name: run[name] for name in kept if name in run}


def listed_of(name: str, rows: list[Any]) -> dict[str, Any]:
    """A list as the server answers it: an empty one says nothing."""
    return {name: rows, "total_size": len(rows)} if rows else {}


def fault_of(name: str) -> tuple[int, Any]:
    """Status and body of what goes wrong; status 0 resets the connection."""
    if name == "reset":
        return 0, {}
    if name.isdigit():
        return int(name), "upstream connect error or disconnect/reset before headers"
    return recorded(name)["status"], answer_of(name)


def route_of(method: str, path: str) -> tuple[str, list[str]]:
    """A request's route, and the ids in its path."""
    if log := re.fullmatch(r"/apis/v1alpha1/runs/([^/]+)/nodes/([^/]+)/log", path):
        return "GET v1alpha1 log", [log[1], log[2]]
    below = path.removeprefix(API)
    ids = re.findall(r"[0-9a-f]{8}-[0-9a-f-]{27}", below)
    return f"{method} {re.sub(r'[0-9a-f]{8}-[0-9a-f-]{27}', '*', below)}", ids
