"""Whose token it is: the API server's answers as recorded from a real one, and for how long."""

import asyncio
import hashlib
from typing import Any

import pytest

from helpers.served_meter import RECORDED, recorded, token_of
from tally.errors import RunError
from tally.meter.asking import KEPT_SECONDS, REFUSED_KEPT_SECONDS
from tally.meter.identity import Caller, Identity, verdict
from tally.meter.refusal import Refusal

GOOD = Caller("tally-record-expired", "pipeline-runner")


@pytest.mark.parametrize("name", sorted(path.stem for path in RECORDED.glob("*.json")))
def test_only_the_good_answer_names_a_caller(name: str) -> None:
    said = verdict(recorded(name))
    if name == "good":
        assert said == GOOD
    else:
        assert isinstance(said, tuple) and said[0] == 401 and "tally-meter" in said[1]


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"authenticated": "true"}, 401),
        ({"authenticated": 1}, 401),
        ({"audiences": []}, 401),
        ({"audiences": None}, 401),
        ({"audiences": ["tally-meter-x"]}, 401),
        ({"user": {"username": "system:node:n1"}}, 403),
        ({"user": {"username": "system:serviceaccount:team-a"}}, 403),
        ({"user": {"username": "system:serviceaccount:a:b:c"}}, 403),
        ({"user": {"username": "x system:serviceaccount:a:b"}}, 403),
        ({"user": {"username": "system:serviceaccount:a:b\n"}}, 403),
        ({"user": None}, 403),
    ],
    ids=str,
)
def test_an_answer_that_says_less_is_no_caller(change: dict[str, Any], status: int) -> None:
    review = recorded("good")
    review["status"] |= change
    said = verdict(review)
    assert isinstance(said, tuple) and said[0] == status


@pytest.mark.parametrize("review", [None, [], {}, {"status": None}, {"status": {}}], ids=str)
def test_no_answer_is_no_caller(review: Any) -> None:
    said = verdict(review)
    assert isinstance(said, tuple) and said[0] == 401


class Asked:
    """An API server that says what it is told to say, on a clock of the test's."""

    def __init__(self) -> None:
        self.now, self.times = 1000.0, 0
        self.says: Any = recorded("good")
        self.go = asyncio.Event()
        self.go.set()
        self.identity = Identity(self.review, lambda: self.now)

    async def review(self, body: dict[str, Any]) -> dict[str, Any]:
        self.times += 1
        await self.go.wait()
        if isinstance(self.says, Exception):
            raise self.says
        return dict(self.says)

    async def ask(self, token: str = token_of("a")) -> Caller | int:
        try:
            return await self.identity.caller([f"Bearer {token}"])
        except Refusal as refusal:
            return refusal.status


def test_a_revoked_token_is_good_for_a_minute_at_most() -> None:
    async def story() -> None:
        asked = Asked()
        assert await asked.ask() == GOOD
        asked.says = recorded("account-deleted")
        asked.now += KEPT_SECONDS - 0.1
        assert await asked.ask() == GOOD and asked.times == 1
        asked.now += 0.1
        assert await asked.ask() == 401 and asked.times == 2

    assert KEPT_SECONDS <= 15
    asyncio.run(story())


def test_a_token_that_was_refused_is_looked_at_again_after_five_seconds() -> None:
    async def story() -> None:
        asked = Asked()
        asked.says = recorded("garbage")
        assert await asked.ask() == 401
        asked.says = recorded("good")
        asked.now += REFUSED_KEPT_SECONDS - 0.1
        assert await asked.ask() == 401
        asked.now += 0.1
        assert await asked.ask() == GOOD and asked.times == 2

    assert REFUSED_KEPT_SECONDS <= 5
    asyncio.run(story())


def test_a_minute_counts_from_when_it_was_asked_and_not_from_the_answer() -> None:
    async def story() -> None:
        asked = Asked()
        asked.go.clear()
        waiting = asyncio.create_task(asked.ask())
        while not asked.times:
            await asyncio.sleep(0)
        asked.now += KEPT_SECONDS
        asked.go.set()
        assert await waiting == GOOD
        await asked.ask()
        assert asked.times == 2

    asyncio.run(story())


def test_many_at_once_with_one_token_are_one_question_and_too_many_tokens_are_refused() -> None:
    async def story() -> None:
        asked = Asked()
        asked.go.clear()
        same = [asyncio.create_task(asked.ask()) for _ in range(50)]
        others = [asyncio.create_task(asked.ask(token_of(f"x{i}"))) for i in range(50)]
        await asyncio.sleep(0.05)
        refused = [task.result() for task in others if task.done()]
        assert asked.times == 16 and refused == [503] * 35
        asked.go.set()
        assert await asyncio.gather(*same) == [GOOD] * 50

    asyncio.run(story())


def test_an_api_server_that_does_not_answer_is_asked_again_at_once() -> None:
    async def story() -> None:
        asked = Asked()
        asked.says = RunError("no answer")
        assert await asked.ask() == 503
        asked.says = recorded("good")
        assert await asked.ask() == GOOD

    asyncio.run(story())


def test_who_gives_up_waiting_takes_nobody_along() -> None:
    async def story() -> None:
        asked = Asked()
        asked.go.clear()
        first, second = (asyncio.create_task(asked.ask()) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        asked.go.set()
        assert await second == GOOD

    asyncio.run(story())


def test_neither_tokens_nor_their_number_fill_the_memory() -> None:
    async def story() -> None:
        asked = Asked()
        assert await asked.ask() == GOOD
        asked.says = recorded("garbage")
        for i in range(5000):
            assert await asked.ask(f"a.b.c{i}") == 401
        assert len(asked.identity._asking._bad) == 4096
        digest = hashlib.sha256(token_of("a").encode()).digest()
        assert list(asked.identity._asking._good) == [
            digest
        ]  # strangers' tokens push no good one out
        assert token_of("a") not in repr(vars(asked.identity) | vars(asked.identity._asking))

    asyncio.run(story())
