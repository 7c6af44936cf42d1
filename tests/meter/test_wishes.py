"""Another number of workers, asked for through the meter: by whom, of which run, how many."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from helpers.metered_runs import NOON, SECOND, run
from helpers.served_meter import OWN, Meter, served_meter, token_of
from tally.costing.quotes import GANG, RESIZE_ASKED, RunEvent
from tally.meter.wishes import trains

BEGAN = {"workers": 1, "max_workers": 4}


def event(kind: str, at: int, facts: Mapping[str, Any] | None = None, **more: str) -> RunEvent:
    whose = {"run_id": "run-a", "namespace": "team-a", "step": "train"}
    return RunEvent(at_microseconds=at, kind=kind, facts=facts or {}, **{**whose, **more})


@pytest.fixture
def meter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Meter]:
    """A run of team-a that trains, whose Workflow its default-editor may update."""
    with served_meter(tmp_path, monkeypatch, now=lambda: NOON) as meter:
        meter.ledger.put_new_runs([run("run-a"), run("run-b", team="team-b")])
        meter.ledger.write_events([event(GANG, NOON - 60 * SECOND, BEGAN)])
        meter.reviews.may = {("team-a", "update", "team-a")}
        yield meter


def ask(
    meter: Meter, workers: object, path: str = "run-a/resize", token: str = token_of("team-a"),
    **fields: object,
) -> tuple[int, str]:  # fmt: skip
    wish = {"workers": workers, "wish": f"wish-{workers}", **fields}
    status, said = meter.ask("POST", f"/v1/runs/{path}", token, body={"resize": wish})
    return status, said.get("error", "")


def wishes(meter: Meter) -> list[tuple[int, str, str]]:
    told = meter.ledger.events("run-a", "team-a", (RESIZE_ASKED,))
    return [(one.facts["workers"], one.facts["machine_type"], one.facts["by"]) for one in told]


def test_wishes_are_kept_in_order_with_who_has_them(meter: Meter) -> None:
    assert ask(meter, 3)[0] == 200
    assert ask(meter, 2, machine_type="n2-standard-4")[0] == 200  # within one microsecond
    by = "team-a/pipeline-runner"
    assert wishes(meter) == [(3, "", by), (2, "n2-standard-4", by)]
    path = f"/v1/runs/run-a/events?kinds={RESIZE_ASKED},x&since={NOON + 1}"
    status, said = meter.ask("GET", path)
    assert status == 200 and [one["facts"]["workers"] for one in said["events"]] == [2]


def test_the_same_wish_twice_is_one(meter: Meter) -> None:
    assert ask(meter, 3)[0] == ask(meter, 2)[0] == ask(meter, 3)[0] == 200
    assert [count for count, *_ in wishes(meter)] == [3, 2]


def test_who_may_only_see_the_workflow_may_not_resize_its_run(meter: Meter) -> None:
    meter.reviews.may = {("team-a", "get", "team-b"), ("team-a", "list", "team-b")}
    status, why = ask(meter, 2)  # not even one of its own
    assert status == 403 and "may update workflows.argoproj.io in team-a" in why
    assert ask(meter, 2, "run-b/resize?namespace=team-b")[0] == 403
    assert ask(meter, 2, "run-b/resize?namespace=team-c")[0] == 403
    readers = token_of(OWN, "tally-meter")  # reading everything is no right to change it
    assert ask(meter, 2, token=readers)[0] == 403
    assert not wishes(meter)


def test_another_namespaces_run_is_resized_by_who_may_update_it(meter: Meter) -> None:
    meter.reviews.may = {("team-b", "get", "team-a"), ("team-b", "update", "team-a")}
    assert ask(meter, 2, "run-a/resize?namespace=team-a", token_of("team-b"))[0] == 200
    assert wishes(meter) == [(2, "", "team-b/pipeline-runner")]


@pytest.mark.parametrize(
    ("workers", "more", "status", "words"),
    [
        (5, {}, 422, 'expected 1 to 4 workers (max_workers), got 5; submit with SET="max_workers'),
        (0, {}, 400, "resize.workers"),
        (-1, {}, 400, "resize.workers"),
        (2.0, {}, 400, "resize.workers"),
        ("2", {}, 400, "resize.workers"),
        (True, {}, 400, "resize.workers"),
        (10**30, {}, 400, "resize.workers"),
        (2, {"machine_type": "no-such"}, 422, "no-such"),
        (2, {"wish": ""}, 400, "resize.wish"),
    ],
)
def test_what_cannot_be_is_refused_in_words(
    meter: Meter, workers: object, more: dict[str, object], status: int, words: str
) -> None:
    found, why = ask(meter, workers, **more)
    assert (found, words in why) == (status, True), why
    assert not wishes(meter)


def test_a_run_that_does_not_train_now_is_not_resized(meter: Meter) -> None:
    meter.ledger.write_events([event("step_ended", NOON - SECOND)])
    status, why = ask(meter, 2)
    assert status == 409 and "expected one that trains" in why
    assert ask(meter, 2, "run-c/resize")[0] == 404


@pytest.mark.parametrize("state", ["cancelled", "failed", "succeeded"])
def test_a_run_that_is_over_is_not_resized_whatever_its_last_event(
    meter: Meter, state: str
) -> None:
    meter.ledger.update_run("run-a", "team-a", state=state)
    assert ask(meter, 2)[0] == 409
    assert not wishes(meter)


def test_kinds_are_words(meter: Meter) -> None:
    for kinds in ("a%00b", "a b", ",".join("x" * 30), "x" * 200):
        status, said = meter.ask("GET", f"/v1/runs/run-a/events?kinds={kinds.replace(' ', '%20')}")
        assert status == 400 and said["error"].startswith("kinds: "), kinds


def test_a_run_trains_from_its_gang_to_the_end_of_its_train_step() -> None:
    began = event(GANG, 1, BEGAN)
    assert trains([]) is None
    assert trains([began, event("step_ended", 2, step="plan")]) is began
    assert trains([began, event("failed", 2, {"message": "lost"})]) is None
    again = event(GANG, 3, {"workers": 2, "max_workers": 2})
    assert trains([began, event("failed", 2), again]) is again
    assert trains([event(GANG, 1, {"max_workers": "many"})]) is None


def test_a_step_cannot_post_what_the_meter_alone_writes(meter: Meter) -> None:
    forged = {"at_microseconds": NOON, "kind": RESIZE_ASKED, "facts": {"workers": 4}}
    status, said = meter.ask("POST", "/v1/runs/run-a/events", body={"events": [forged]})
    assert status == 422 and "post to /resize" in said["error"]
    assert not wishes(meter)
