"""The token for the meter that a step's pod asks for: whose, when again, and why there is none."""

from pathlib import Path
from typing import Any

import pytest

from helpers.kube.account_tokens import account_token
from tally.errors import RunError
from tally.kube.cluster import Cluster, Refused
from tally.kube.metertoken import RequestedToken, own_account
from tally.meterhttp import NoToken

PATH = "api/v1/namespaces/team-a/serviceaccounts/pipeline-runner/token"


class Answers(Cluster):
    """In place of an API server: token-1, token-2, …, or what it refuses with; and a clock."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Any]] = []
        self.refusal: Refused | None = None
        self.seconds = 1000.0
        self.life = 3600

    def request(self, method: str, path: str, body: Any = None, **others: Any) -> dict[str, Any]:
        self.asked.append((method, path, body))
        if self.refusal:
            raise self.refusal
        made = {"token": f"token-{len(self.asked)}"}
        return {"spec": {"expirationSeconds": self.life}, "status": made}


@pytest.fixture
def server() -> Answers:
    return Answers()


@pytest.fixture
def token(server: Answers, tmp_path: Path) -> RequestedToken:
    mounted = account_token(tmp_path, "team-a", "pipeline-runner")
    return RequestedToken(mounted, lambda: server, lambda: server.seconds)


def test_it_is_of_this_pods_account_for_the_meter_and_dies_with_the_pod(
    token: RequestedToken, server: Answers
) -> None:
    assert token() == token() == "token-1"
    ((method, path, body),) = server.asked
    assert (method, path) == ("POST", PATH)
    assert body["spec"] == {
        "audiences": ["tally-meter"],
        "expirationSeconds": 3600,
        "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "step", "uid": "u-1"},
    }


def test_an_account_whose_token_is_bound_to_no_pod_has_one_as_well(tmp_path: Path) -> None:
    mounted = account_token(tmp_path, "n", "a.b", **{"kubernetes.io": {"namespace": "n"}})
    assert (own_account(mounted).namespace, own_account(mounted).name) == ("n", "a.b")
    assert own_account(mounted).pod is None


def test_it_is_renewed_before_it_expires_and_when_the_meter_takes_it_no_more(
    token: RequestedToken, server: Answers
) -> None:
    server.life = 600  # the server's word, not what was asked for
    token()
    server.seconds += 479
    assert token() == "token-1"
    server.seconds += 2
    assert token() == "token-2"
    assert token(afresh=True) == "token-3"
    assert token() == "token-3"


def test_while_the_server_is_away_the_last_one_is_used_as_long_as_it_is_good(
    token: RequestedToken, server: Answers
) -> None:
    token()
    server.refusal = Refused("POST", 0, "ConnectionError", "")
    server.seconds += 3599
    assert token() == "token-1"
    with pytest.raises(RunError):  # asked again by whoever has time
        token(afresh=True)
    server.seconds += 2
    with pytest.raises(RunError):
        token()
    server.refusal = None
    assert token() == "token-5"


def test_without_the_right_it_says_whose_and_what_to_do(
    token: RequestedToken, server: Answers
) -> None:
    server.refusal = Refused("POST", 403, "Forbidden", "no")
    with pytest.raises(NoToken) as caught:
        token()
    words = str(caught.value)
    assert "for the account team-a/pipeline-runner, got Forbidden; give the account" in words
    assert "manifests/gang-rbac.yaml" in words and "\n" not in words


def test_what_no_waiting_mends_is_told_at_once(token: RequestedToken, server: Answers) -> None:
    server.refusal = Refused("POST", 404, "NotFound", "serviceaccounts not found")
    with pytest.raises(NoToken, match="serviceaccounts not found"):
        token()


@pytest.mark.parametrize("text", [None, "", "one.two", "a.b.c", "a.bnVsbA.c", "a.e30.c"])
def test_a_pod_without_its_accounts_token_is_a_clear_line(
    server: Answers, tmp_path: Path, text: str | None
) -> None:
    mounted = tmp_path / "token"
    if text is not None:
        mounted.write_text(text)
    with pytest.raises(NoToken, match="automountServiceAccountToken") as caught:
        RequestedToken(mounted, lambda: server)()
    assert "\n" not in str(caught.value) and not server.asked
