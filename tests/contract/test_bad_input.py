"""Bad hosts, tokens, namespaces, names: one line each, within seconds, nothing half-created."""

import base64
import json
import os
from pathlib import Path

import pytest

from helpers.contract.done import one_line
from helpers.contract.recordings import UNSCHEDULABLE
from helpers.contract.replay import Replay

pytestmark = pytest.mark.slow


def token(**facts: str) -> str:
    payload = base64.urlsafe_b64encode(json.dumps(facts).encode()).decode().rstrip("=")
    return f"e30.{payload}.c2ln"


def test_an_unknown_pipeline_is_refused_before_the_server_is_asked(
    run_tally, replay: Replay
) -> None:
    one_line(run_tally("submit", "cmn"), 2, "did you mean cnn?")
    assert replay.at == []


def test_a_bad_parameter_makes_nothing(run_tally, replay: Replay) -> None:
    one_line(run_tally("submit", "cnn", "--set", "epochs=0"), 2, "epochs")
    assert set(replay.seen) == {"GET healthz"}


def test_a_token_that_is_refused(run_tally, replay: Replay, monkeypatch) -> None:
    replay.tokens = {"good"}
    monkeypatch.setenv("KFP_TOKEN", "expired-secret")
    done = run_tally("submit", "cnn")
    one_line(done, 2, "401", "renew the token of KFP_TOKEN_FILE or KFP_TOKEN")
    assert "expired-secret" not in done.out + done.err
    assert len(replay.at) == 2  # asked again once, after the credentials were read again


def test_no_token_file_and_no_token_in_it(run_tally, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KFP_TOKEN_FILE", str(tmp_path / "token"))
    one_line(run_tally("submit", "cnn"), 2, "KFP_TOKEN_FILE: expected a file with a token")
    (tmp_path / "token").write_text("two words\n")
    one_line(run_tally("submit", "cnn"), 2, "KFP_TOKEN_FILE: expected one bearer token")


def test_a_token_that_is_replaced_in_the_middle_is_read_again(
    run_tally, replay: Replay, monkeypatch, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text(token(sub="system:serviceaccount:team-a:default-editor", n="1"))
    monkeypatch.setenv("KFP_TOKEN_FILE", str(file))
    replay.tokens = {file.read_text()}

    def renew(server: Replay) -> None:
        if server.seen["GET runs/*"] == 2:
            file.write_text(token(sub="system:serviceaccount:team-a:default-editor", n="2"))
            server.tokens = {file.read_text()}

    replay.looked = renew
    done = run_tally("submit", "cnn")
    assert done.code == 0, done.err
    assert "as system:serviceaccount:team-a:default-editor" in done.out
    assert file.read_text() not in done.out + done.err


def test_a_token_that_expires_in_the_middle_says_that_the_run_goes_on(
    run_tally, replay: Replay, monkeypatch
) -> None:
    monkeypatch.setenv("KFP_TOKEN", "mine")
    replay.story = UNSCHEDULABLE

    def expire(server: Replay) -> None:
        server.tokens = set() if server.seen["GET runs/*"] >= 2 else None

    replay.looked = expire
    one_line(run_tally("submit", "cnn"), 2, "401", "make watch RUN=")


def test_several_users_need_a_namespace_which_then_is_sent(
    run_tally, replay: Replay, monkeypatch
) -> None:
    replay.multi_user = True
    one_line(run_tally("submit", "cnn"), 2, "KFP_NAMESPACE: expected your profile's namespace")
    assert set(replay.seen) == {"GET healthz"}
    monkeypatch.setenv("KFP_NAMESPACE", "team-a")
    done = run_tally("submit", "cnn")
    assert done.code == 0, done.err
    assert "namespace team-a" in done.out
    asked = dict(zip([route for _, route in replay.at], replay.queries, strict=True))
    assert asked["GET pipelines"]["namespace"] == "team-a"
    assert asked["GET experiments"]["namespace"] == "team-a"


@pytest.mark.parametrize("given", ["", "team-a"], ids=["none", "another"])
@pytest.mark.parametrize("command", ["watch", "resume", "cancel", "logs", "resize", "report"])
def test_a_runs_namespace_comes_before_ones_own(
    run_tally, replay: Replay, monkeypatch, command: str, given: str
) -> None:
    assert run_tally("submit", "cnn").code == 0
    run_id = str(replay.the_run()["run_id"])
    replay.multi_user = True
    monkeypatch.setenv("KFP_NAMESPACE", given)
    seen = len(replay.queries)
    words = ["2"] if command == "resize" else []
    done = run_tally(command, run_id[:8], *words, "--namespace", "team-b")
    assert "KFP_NAMESPACE" not in done.err
    asked = [query["namespace"] for query in replay.queries[seen:] if "namespace" in query]
    assert asked and set(asked) == {"team-b"}


def test_one_users_installation_is_never_sent_a_namespace(
    run_tally, replay: Replay, monkeypatch
) -> None:
    monkeypatch.setenv("KFP_NAMESPACE", "kubeflow")
    assert run_tally("submit", "cnn").code == 0
    assert not any("namespace" in query for query in replay.queries)


@pytest.mark.parametrize("engine", ["kluster", "Local"])
def test_an_engine_that_is_none(run_tally, replay: Replay, engine: str) -> None:
    one_line(run_tally("submit", "cnn", "--engine", engine), 2, "ENGINE: expected local or cluster")
    assert replay.at == []


def test_a_cluster_without_its_address(run_tally, monkeypatch) -> None:
    monkeypatch.delenv("KFP_HOST")
    one_line(run_tally("submit", "cnn", "--engine", "cluster"), 2, "KFP_HOST: expected the address")


def test_ctrl_c_while_the_run_is_created_leaves_one_run_and_says_so(
    run_tally, replay: Replay
) -> None:
    replay.story = UNSCHEDULABLE
    replay.created = lambda server: os.kill(os.getpid(), 2)
    done = run_tally("submit", "cnn")
    assert done.code == 0
    assert replay.the_run()["run_id"] in done.err
