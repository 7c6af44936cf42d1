"""Whose runs a caller sees: those of its namespace, and of those whose Workflows it may get."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers.metered_runs import NOON, run
from helpers.served_meter import OWN, Meter, recorded, served_meter, token_of
from tally.errors import RunError
from tally.meter.asking import AT_ONCE, KEPT_SECONDS, REFUSED_KEPT_SECONDS
from tally.meter.health import Health
from tally.meter.identity import Caller, verdict
from tally.meter.permission import Permission, allows
from tally.meter.refusal import Refusal

WHATS = ("usage", "quote", "bill", "events")


@pytest.fixture
def meter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Meter]:
    """A run of each of three namespaces."""
    with served_meter(tmp_path, monkeypatch) as meter:
        meter.ledger.put_new_runs(run(f"run-{x}", team=f"team-{x}") for x in "abc")
        yield meter


def listed(meter: Meter) -> set[str]:
    status, answer = meter.ask("GET", "/v1/runs?bills=0")
    assert status == 200
    return {row["run"]["id"] for row in answer["runs"]}


def test_one_run_is_read_where_its_workflow_may_be_got(meter: Meter) -> None:
    meter.reviews.may = {("team-a", "get", "team-b"), ("team-b", "get", "team-c")}
    for what in WHATS:
        assert meter.ask("GET", f"/v1/runs/run-b/{what}")[0] == 200
        assert meter.ask("GET", f"/v1/runs/run-c/{what}")[0] == 403
    assert listed(meter) == {"run-a"}  # that is another verb


def test_a_list_has_the_namespaces_whose_workflows_may_be_listed(meter: Meter) -> None:
    meter.reviews.may = {("team-a", "list", "team-b")}
    assert listed(meter) == {"run-a", "run-b"}
    assert meter.ask("GET", "/v1/runs/run-b/bill")[0] == 403


def test_who_may_list_them_everywhere_is_asked_for_once(meter: Meter) -> None:
    meter.reviews.may = {("team-a", "list", "")}
    assert listed(meter) == {"run-a", "run-b", "run-c"}
    assert len(meter.reviews.access_asked) == 1


def test_ones_own_needs_no_review_and_a_post_is_ones_own_alone(meter: Meter) -> None:
    for what in WHATS:
        assert meter.ask("GET", f"/v1/runs/run-a/{what}")[0] == 200
    body = {"events": [{"at_microseconds": NOON, "kind": "note"}]}
    meter.reviews.may = {("team-a", "get", "team-b"), ("team-a", "list", "team-b")}
    assert meter.ask("POST", "/v1/runs/run-a/events", body=body)[0] == 200
    assert meter.ask("POST", "/v1/runs/run-b/events", body=body)[0] == 404
    assert not meter.reviews.access_asked and not meter.ledger.events("run-b")


def test_of_two_runs_of_one_id_a_reader_sees_its_own_or_the_one_it_names(
    meter: Meter,
) -> None:
    from helpers.metered_runs import life, node

    meter.ledger.write_nodes([node()])
    whose = {"run_id": "run-b", "namespace": "team-b", "team": "team-b"}
    meter.ledger.write_usage(life("pod-b", NOON - 60, NOON, **whose))
    meter.ledger.write_usage(life("thief", NOON - 60, NOON, **{**whose, "namespace": "team-a"}))
    meter.reviews.may = {("team-a", "get", "team-b")}
    for asked, uid in (("", "thief"), ("?namespace=team-b", "pod-b"), ("?namespace=", "thief")):
        _, answer = meter.ask("GET", f"/v1/runs/run-b/usage{asked}")
        assert {row["pod_uid"] for row in answer["usage"]} == {uid}
    assert meter.ask("GET", "/v1/runs/run-b/usage?namespace=team-c")[0] == 403
    assert meter.ask("GET", "/v1/runs/run-a/usage?namespace=team-b")[0] == 404
    assert meter.ask("GET", "/v1/runs/run-b/usage?namespace=a/b")[0] == 400


def test_an_id_that_several_readable_namespaces_have_is_not_guessed(meter: Meter) -> None:
    meter.ledger.put_new_runs([run("run-b", team="team-c"), run("run-b", team="team-d")])
    meter.reviews.may = {("team-a", "get", "team-b"), ("team-a", "get", "team-c")}
    status, answer = meter.ask("GET", "/v1/runs/run-b/bill")
    assert status == 409 and "team-d" not in answer["error"]  # whose it may not see
    assert answer["error"] == (
        "run: expected an id of one run, got one of each of the namespaces team-b, team-c; "
        "choose one by NAMESPACE=, of the API by ?namespace="
    )
    for team in ("team-b", "team-c"):
        assert meter.ask("GET", f"/v1/runs/run-b/bill?namespace={team}")[0] == 200
    meter.reviews.may = {("team-e", "get", "team-c")}
    assert meter.ask("GET", "/v1/runs/run-b/bill", token_of("team-e"))[0] == 200  # the only one
    assert meter.ask("GET", "/v1/runs/run-b/bill", token_of("team-f"))[0] == 403
    status, answer = meter.ask("GET", "/v1/runs/run-b/bill", token_of(OWN))
    assert status == 409 and "team-b, team-c, team-d;" in answer["error"]
    assert meter.ask("GET", "/v1/runs/run-b/bill?namespace=team-d", token_of(OWN))[0] == 200


def test_the_review_is_of_all_that_the_token_review_says(meter: Meter) -> None:
    assert meter.ask("GET", "/v1/runs/run-b/bill")[0] == 403
    (spec,) = meter.reviews.access_asked
    user = recorded("good")["status"]["user"]
    assert spec == {
        "user": "system:serviceaccount:team-a:pipeline-runner",
        "groups": user["groups"],
        "uid": user["uid"],
        "extra": user["extra"],
        "resourceAttributes": {
            "group": "argoproj.io", "resource": "workflows", "verb": "get", "namespace": "team-b",
        },
    }  # fmt: skip


def test_a_meter_that_may_not_ask_shows_everybody_their_own_and_says_so_once(
    meter: Meter, caplog: pytest.LogCaptureFixture
) -> None:
    meter.reviews.forbids = True
    assert listed(meter) == {"run-a"}
    assert meter.ask("GET", "/v1/runs/run-b/bill")[0] == 403
    assert meter.ask("GET", "/v1/runs/run-c/bill")[0] == 403
    (notice,) = meter.health.notices()
    assert "may not create subjectaccessreviews.authorization.k8s.io" in notice
    assert meter.health.problems() == []
    assert len([r for r in caplog.records if r.name == "tally.meter.permission"]) == 1
    meter.reviews.forbids = False
    meter.ledger.put_new_runs([run("run-d", team="team-d")])
    assert meter.ask("GET", "/v1/runs/run-d/bill")[0] == 403
    assert meter.health.notices() == []


@pytest.mark.parametrize(
    "review",
    [
        None, [], {}, {"status": None}, {"status": {}}, {"status": {"allowed": 1}},
        {"status": {"allowed": "true"}}, {"status": {"allowed": False}},
        {"status": {"allowed": True, "denied": True}},
    ],
    ids=str,
)  # fmt: skip
def test_anything_but_a_clear_yes_is_no(review: Any) -> None:
    assert not allows(review)
    assert allows({"status": {"allowed": True}})


class Asked:
    """An API server that says what it is told to say, on a clock of the test's."""

    def __init__(self) -> None:
        self.now, self.times, self.says = 1000.0, 0, True
        self.fails = False
        self.go = asyncio.Event()
        self.go.set()
        self.permission = Permission(self.review, Health(), lambda: self.now)

    async def review(self, body: dict[str, Any]) -> dict[str, Any]:
        self.times += 1
        await self.go.wait()
        if self.fails:
            raise RunError("no answer")
        return {"status": {"allowed": self.says}}

    async def ask(self, namespace: str = "team-b", account: str = "a") -> int:
        user = f"system:serviceaccount:team-a:{account}"
        try:
            await self.permission.require(Caller("team-a", account, {"user": user}), namespace)
        except Refusal as refusal:
            return refusal.status
        return 200


def test_what_was_allowed_holds_for_fifteen_seconds_and_what_was_not_for_five() -> None:
    async def story() -> None:
        asked = Asked()
        assert await asked.ask() == 200
        asked.says = False
        asked.now += KEPT_SECONDS - 0.1
        assert await asked.ask() == 200 and asked.times == 1
        asked.now += 0.1
        assert await asked.ask() == 403 and asked.times == 2
        asked.says = True
        asked.now += REFUSED_KEPT_SECONDS - 0.1
        assert await asked.ask() == 403
        asked.now += 0.1
        assert await asked.ask() == 200

    assert KEPT_SECONDS <= 15
    asyncio.run(story())


def test_each_account_and_each_namespace_has_an_answer_of_its_own() -> None:
    async def story() -> None:
        asked = Asked()
        for namespace, account in (("b", "x"), ("b", "y"), ("c", "x")):
            await asked.ask(namespace, account)
        assert asked.times == 3

    asyncio.run(story())


def test_only_so_many_are_asked_at_once_and_only_so_many_wait() -> None:
    async def story() -> None:
        asked = Asked()
        asked.go.clear()
        tasks = [asyncio.create_task(asked.ask(f"team-{i}")) for i in range(1100)]
        await asyncio.sleep(0.05)
        assert asked.times == AT_ONCE
        refused = [task.result() for task in tasks if task.done()]
        assert refused == [503] * (1100 - AT_ONCE - 1024)
        asked.go.set()
        assert set(await asyncio.gather(*tasks)) == {200, 503}

    asyncio.run(story())


def test_an_api_server_that_does_not_answer_allows_nothing() -> None:
    async def story() -> None:
        asked = Asked()
        asked.fails = True
        assert await asked.ask() == 503
        asked.fails = False
        assert await asked.ask() == 200

    asyncio.run(story())


def test_answers_do_not_fill_the_memory() -> None:
    async def story() -> None:
        asked = Asked()
        for i in range(5000):
            await asked.ask(account=f"x{i}")
        assert len(asked.permission._asking._good) == 4096

    asyncio.run(story())


def test_a_caller_is_known_with_its_groups_uid_and_extra() -> None:
    said = verdict(recorded("good"))
    assert isinstance(said, Caller)
    assert set(said.subject) == {"user", "groups", "uid", "extra"}
