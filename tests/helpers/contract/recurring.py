"""The replayed server with recurring runs, which it keeps as the real one did."""

import contextlib
import json
import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from helpers.contract.replay import Replay, answer_of, serving
from tally.runs.kubeflow import schedule_making, unscheduling

NIGHTLY = "0 0 3 * * *"
ENDED = ("SUCCEEDED", "FAILED", "CANCELED", "SKIPPED")


@dataclass
class Scheduling(Replay):
    """Recurring runs beside the rest. Deleting one leaves its runs RUNNING for ever, as it does."""

    recurring: dict[str, dict[str, Any]] = field(default_factory=dict)
    orphans: list[str] = field(default_factory=list)

    def _do(
        self, route: str, ids: list[str], query: dict[str, str], body: bytes
    ) -> tuple[int, Any]:
        verb, _, path = route.partition(" ")
        if path == "recurringruns" and verb == "GET":
            assert query["page_size"]
            rows = list(self.recurring.values())
            return 200, {"recurringRuns": rows, "total_size": len(rows)} if rows else {}
        if path == "recurringruns":
            return self._make_recurring(json.loads(body))
        if path.startswith("recurringruns/*"):
            return self._of_recurring(verb, path.partition(":")[2], ids[0])
        if route == "GET pipelines/*":
            name = next(n for n, row in self.pipelines.items() if row["pipeline_id"] == ids[0])
            return 200, {**answer_of("02-upload-pipeline"), "display_name": name}
        if route == "GET runs" and "experiment_id" in query:
            return 200, self._of_experiment(query)
        return super()._do(route, ids, query, body)

    def _make_recurring(self, sent: dict[str, Any]) -> tuple[int, Any]:
        trigger = sent["trigger"]
        if fields := trigger.get("cron_schedule", {}).get("cron"):
            if not 5 <= len(fields.split()) <= 6 and not fields.startswith("@"):
                return 400, answer_of("53-error-bad-cron")
        else:  # the server answers with text
            seconds = trigger["periodic_schedule"]["interval_second"]
            trigger = {"periodic_schedule": {"interval_second": str(seconds)}}
        if not 1 <= sent["max_concurrency"] <= 10:
            return 400, answer_of("55-error-recurring-max-concurrency")
        row = {
            **answer_of("32-create-recurring-run-six-field"), **sent, "trigger": trigger,
            "recurring_run_id": str(uuid.uuid4()),
            "created_at": f"2026-11-25T07:00:{len(self.recurring):02d}Z",
            "max_concurrency": str(sent["max_concurrency"]),
            "status": f"{sent['mode']}D",
        }  # fmt: skip
        self.recurring[row["recurring_run_id"]] = row
        return 200, row

    def _of_recurring(self, verb: str, action: str, one: str) -> tuple[int, Any]:
        if one not in self.recurring:
            return 404, answer_of("57-error-recurring-unknown")
        if verb == "DELETE":
            del self.recurring[one]
            self.orphans += [
                run["run_id"] for run in self.runs.values()
                if run.get("recurring_run_id") == one and self._state(run) not in ENDED
            ]  # fmt: skip
            return 200, answer_of("39-delete-recurring-run")
        if action:
            on = action == "enable"
            self.recurring[one]["mode"] = "ENABLE" if on else "DISABLE"
            self.recurring[one]["status"] = "ENABLED" if on else "DISABLED"
            return 200, answer_of("37-enable-recurring-run")
        return 200, self.recurring[one]

    def _of_experiment(self, query: dict[str, str]) -> dict[str, Any]:
        rows = [
            {**run, "state": self._state(run)}
            for run in self.runs.values()
            if run["experiment_id"] == query["experiment_id"]
        ]
        for wanted in json.loads(query.get("filter") or "{}").get("predicates", []):
            assert (wanted["operation"], wanted["key"]) == ("IN", "state")
            rows = [row for row in rows if row["state"] in wanted["stringValues"]["values"]]
        return {"runs": rows} if rows else {}

    def _state(self, run: dict[str, Any]) -> str:
        """As the next look at it will say."""
        return str(answer_of(self._left[run["run_id"]][0]).get("state") or "")

    def fire(self, story: list[str]) -> dict[str, Any]:
        """The one schedule makes a run, which goes through this story; the run."""
        (one,) = self.recurring.values()
        version = one["pipeline_version_reference"]
        _, run = self._create(
            {"display_name": f"{one['display_name']}x7k2q-1-2733452158",
             "experiment_id": one["experiment_id"], "pipeline_version_reference": version}
        )  # fmt: skip
        run["recurring_run_id"] = one["recurring_run_id"]
        self._left[run["run_id"]] = list(story)
        return run

    def changes(self) -> list[str]:
        """What was asked that changes something, of recurring runs and runs."""
        return [
            route for _, route in self.at if re.match(r"(POST|DELETE) (recurringr|r)uns", route)
        ]


@contextlib.contextmanager
def scheduling(monkeypatch: pytest.MonkeyPatch) -> Iterator[Scheduling]:
    """The server, and a command that does not wait long."""
    monkeypatch.setattr(unscheduling, "SETTLE_SECONDS", 0.01)
    monkeypatch.setattr(schedule_making, "LOOKS_SECONDS", (0.01, 0.02, 0.05))
    monkeypatch.setattr(schedule_making, "LOOK_SECONDS", 1.0)
    with serving(Scheduling()) as server:
        yield server


def nightly(run_tally: Callable[..., Any], replay: Scheduling) -> dict[str, Any]:
    """A schedule called cnn."""
    done = run_tally("schedule", "cnn", "--cron", NIGHTLY, "--set", "epochs=7")
    assert done.code == 0, done.err
    (one,) = replay.recurring.values()
    return one
