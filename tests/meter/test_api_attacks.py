"""/v1 asked by those who mean no good, or know no better."""

import gzip
import json
import logging
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.metered_runs import HOUR, NOON, life, node, run
from helpers.served_meter import Meter, served_meter, token_of, until
from tally.meter import app, bodies
from tally.meter.blocking import Blocking

EVENTS = "/v1/runs/run-a/events"
EVENT = {"events": [{"at_microseconds": NOON, "kind": "note"}]}


@pytest.fixture
def meter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Meter]:
    monkeypatch.setattr(bodies, "BODY_SECONDS", 0.3)
    monkeypatch.setattr(app, "IDLE_SECONDS", 0.5)
    with served_meter(tmp_path, monkeypatch) as meter:
        meter.ledger.write_nodes([node()])
        meter.ledger.put_new_runs([run()])
        meter.ledger.write_usage(life("pod-a", NOON - HOUR, NOON))
        yield meter


def raw(meter: Meter, data: bytes, seconds: float = 10.0) -> bytes:
    """What the server answers to these bytes until it closes, or a whole answer is there."""
    with socket.create_connection(("127.0.0.1", meter.port), timeout=seconds) as connection:
        connection.sendall(data)
        got = b""
        while chunk := connection.recv(65536):
            got += chunk
            head, _, rest = got.partition(b"\r\n\r\n")
            for line in head.split(b"\r\n"):
                if line.lower().startswith(b"content-length:") and len(rest) >= int(line[15:]):
                    return got
        return got


def alive(meter: Meter) -> bool:
    return meter.ask("GET", "/v1/runs/run-a/bill")[0] == 200


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Basic good.team-a.runner",
        "Bearer good.team-a.runner extra",
        "Bearer good.team-a",
        "Bearer of-the-meter",
        "Bearer good.team-a.run/ner",
        "Bearer wrong-audience.team-a.runner",
        "Bearer api-servers-own-audience.team-a.runner",
        "Bearer no-audience-asked.team-a.runner",
        "Bearer account-deleted.team-a.runner",
        "Bearer expired.team-a.runner",
        "Bearer tampered.team-a.runner",
        "Bearer garbage.team-a.runner",
    ],
)
def test_a_request_without_a_good_token_learns_and_does_nothing(
    meter: Meter, authorization: str | None
) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    for method, path, body in (
        ("GET", "/v1/runs", None),
        ("GET", "/v1/runs/run-a/bill", None),
        ("GET", "/v1/runs/run-x/bill", None),
        ("POST", EVENTS, EVENT),
    ):
        status, answer = meter.ask(method, path, None, body=body, headers=headers)
        assert status == 401 and set(answer) == {"schema", "error"}
        assert "run-a" not in answer["error"]
    assert not meter.ledger.events("run-a")


def test_two_tokens_at_once_are_none(meter: Meter) -> None:
    good = f"Authorization: Bearer {token_of('team-a')}\r\n"
    request = f"GET /v1/runs HTTP/1.1\r\nHost: m\r\n{good}{good}\r\n"
    assert raw(meter, request.encode()).startswith(b"HTTP/1.1 401")


def test_a_user_who_is_no_service_account_is_refused(meter: Meter) -> None:
    def as_user(review: dict) -> dict:
        said = type(meter.reviews).answer(meter.reviews, review)
        said["status"]["user"]["username"] = "system:node:tally"
        return said

    meter.reviews.answer = as_user  # type: ignore[method-assign]
    assert meter.ask("GET", "/v1/runs")[0] == 403


def test_a_bad_token_costs_the_api_server_one_question_in_five_seconds(meter: Meter) -> None:
    for _ in range(20):
        assert meter.ask("GET", "/v1/runs", "garbage.a.b")[0] == 401
        assert meter.ask("GET", "/v1/runs")[0] == 200
    assert sorted(meter.reviews.asked) == ["garbage.a.b", token_of("team-a")]


def test_while_the_api_server_is_silent_callers_that_are_known_go_on_and_others_wait(
    meter: Meter,
) -> None:
    assert meter.ask("GET", "/v1/runs")[0] == 200
    meter.reviews.silent = True
    assert meter.ask("GET", "/v1/runs")[0] == 200
    status, answer = meter.ask("GET", "/v1/runs", token_of("team-b"))
    assert status == 503 and "API server" in answer["error"]
    meter.reviews.silent = False
    assert meter.ask("GET", "/v1/runs", token_of("team-b"))[0] == 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe",
        b"{",
        b"[]",
        b'"text"',
        b"null",
        b'{"schema": 1, "events": {}}',
        b'{"schema": 1, "events": [1]}',
        b'{"schema": 1, "events": [{}]}',
        b'{"schema": 1}',
        b'{"schema": 1, "events": [{"at_microseconds": NaN, "kind": "x"}]}',
        b'{"schema": 1, "events": [{"at_microseconds": 1, "kind": "x", "facts": {"a": 1e999}}]}',
        b'{"schema": 1, "events": [{"at_microseconds": 1, "kind": "x", "facts": {"a": Infinity}}]}',
        b'{"schema": 1, "events": [{"at_microseconds": 1' + b"0" * 5000 + b', "kind": "x"}]}',
        b'{"schema": 1, "events": [{"at_microseconds": 1, "kind": "a\\u0000b"}]}',
        b'{"schema": 1, "events": [{"at_microseconds": 1, "kind": "\\ud800"}]}',
        b'{"schema": 1, "events": [{"at_microseconds": 1, "kind": "x", "facts": {"\\ud800": 1}}]}',
        b'{"schema": 1, "events": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"schema": 1, "events": ' + b"[" * 20 + b"]" * 20 + b"}",
        b'{"schema": 1, "events": [{"at_microseconds": 1, "kind": "x", "facts": {"a": '
        + b"[" * 20
        + b"]" * 20
        + b"}}]}",
        b'{"schema": 1, "events": [' + b"0," * 2000 + b"0]}",
    ],
    ids=lambda body: repr(body[:60]),
)
def test_a_garbled_body_is_one_sentence_back(meter: Meter, body: bytes) -> None:
    status, answer = meter.ask("POST", EVENTS, body=body)
    assert status == 400
    assert "expected" in answer["error"] and "\n" not in answer["error"]
    assert len(answer["error"]) < 400 and "Traceback" not in answer["error"]
    assert not meter.ledger.events("run-a") and alive(meter)


def test_facts_of_any_shape_come_back_as_they_were_sent(meter: Meter) -> None:
    facts = {"'; drop table runs; --": ["<script>", {"a": [None, True, -1.5, "é\r\nX-Evil: 1"]}]}
    event = {"at_microseconds": NOON, "kind": "x\r\ny", "step": "", "facts": facts}
    assert meter.ask("POST", EVENTS, body={"events": [event]})[0] == 200
    assert meter.ask("GET", EVENTS)[1]["events"] == [
        {"run_id": "run-a", "namespace": "team-a", **event}
    ]


def test_a_huge_body_is_refused_however_it_comes(meter: Meter) -> None:
    huge = json.dumps({"schema": 1, "events": [], "pad": "x" * (2 << 20)}).encode()
    status, answer = meter.ask("POST", EVENTS, body=huge)
    assert status == 413 and "1 MiB" in answer["error"]
    head = f"POST {EVENTS} HTTP/1.1\r\nHost: m\r\nIdempotency-Key: k\r\nAuthorization: Bearer "
    head += f"{token_of('team-a')}\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = f"{len(huge):x}\r\n".encode() + huge + b"\r\n"
    assert raw(meter, head.encode() + chunk).startswith(b"HTTP/1.1 413")
    packed = {"Content-Encoding": "gzip"}
    status, _ = meter.ask("POST", EVENTS, body=gzip.compress(b"0" * (64 << 20)), headers=packed)
    assert status == 415
    assert alive(meter)


@pytest.mark.timing
def test_a_body_that_trickles_is_given_up_and_holds_nobody_up(meter: Meter) -> None:
    head = f"POST {EVENTS} HTTP/1.1\r\nHost: m\r\nIdempotency-Key: k\r\nAuthorization: Bearer "
    head += f"{token_of('team-a')}\r\nContent-Length: 1000\r\n\r\n{{"
    slow = [socket.create_connection(("127.0.0.1", meter.port), timeout=10) for _ in range(50)]
    for connection in slow:
        connection.sendall(head.encode())
    began = time.monotonic()
    assert alive(meter)
    assert time.monotonic() - began < 5
    for connection in slow:
        assert connection.recv(65536).startswith(b"HTTP/1.1 408")
        connection.close()


def test_a_connection_without_a_whole_request_is_closed(meter: Meter) -> None:
    for start in (b"", b"GET /v1/runs HT", b"GET /v1/runs HTTP/1.1\r\nHost: m\r\nX-A: "):
        with socket.create_connection(("127.0.0.1", meter.port), timeout=10) as connection:
            connection.sendall(start)
            assert b"200" not in connection.recv(65536)


@pytest.mark.parametrize(
    "run_id",
    [
        "..",
        ".",
        "-a",
        "a" * 64,
        "run%20a",
        "run-a%00",
        "run-a%2F..%2Frun-b",
        "run-a%0d%0aX-Evil:%201",
        "%F0%9F%92%B0",
        "run-a'%20or%20'1'='1",
        "*",
        "run-a;x",
        "%25",
        "%zz",
    ],
)
def test_odd_run_ids_are_runs_that_are_not_there(meter: Meter, run_id: str) -> None:
    head = f"GET /v1/runs/{run_id}/usage HTTP/1.1\r\nHost: m\r\n"
    head += f"Authorization: Bearer {token_of('team-a')}\r\n\r\n"
    got = raw(meter, head.encode())
    assert got.startswith((b"HTTP/1.1 404", b"HTTP/1.1 400"))
    headers, _, body = got.partition(b"\r\n\r\n")
    assert b"X-Evil" not in headers and b"\n" not in body.strip()
    assert alive(meter)


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /v1/runs HTTP/1.1\r\nHost: m\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: m\r\n\r\n",
        b"POST /v1/runs/run-a/events HTTP/1.1\r\nHost: m\r\nContent-Length: -5\r\n\r\n",
        b"POST /v1/runs/run-a/events HTTP/1.1\r\nHost: m\r\nContent-Length: 3\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
    ids=["tls", "version", "header", "path", "length", "smuggling"],
)
def test_what_is_no_http_is_refused(meter: Meter, data: bytes) -> None:
    got = raw(meter, data)
    assert got.startswith(b"HTTP/1.") and b" 400 " in got.split(b"\r\n")[0]
    assert b"Traceback" not in got and alive(meter)


def test_a_token_in_a_garbled_header_is_not_logged(
    meter: Meter, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    head = (
        f"GET /v1/runs HTTP/1.1\r\nHost: m\r\nAuthorization: Bearer {token_of('team-a')}\0\r\n\r\n"
    )
    assert b" 400 " in raw(meter, head.encode())
    until(lambda: "tally.meter.http.wire" in {record.name for record in caplog.records})
    assert token_of("team-a") not in caplog.text


def test_other_methods_and_paths_are_refused_in_words(meter: Meter) -> None:
    for method, path, wanted in (
        ("DELETE", "/v1/runs/run-a/usage", 405),
        ("PUT", "/healthz", 405),
        ("GET", "/", 404),
        ("GET", "/v1", 404),
        ("GET", "/v1/runs/run-a/page", 404),
        ("POST", "/v1/runs/run-a/bill", 405),
    ):
        status, answer = meter.ask(method, path)
        assert status == wanted and "expected" in answer["error"]


def test_too_much_at_once_is_refused_and_what_waits_is_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocking = Blocking(threads=1, waiting=1)
    with served_meter(tmp_path, monkeypatch, blocking=blocking) as meter:
        meter.ledger.put_new_runs([run()])
        database = sqlite3.connect(tmp_path / "meter.db", isolation_level=None)
        database.execute("BEGIN IMMEDIATE")  # who writes now waits
        answers: list[int] = []

        def post(key: str) -> None:
            answers.append(meter.ask("POST", EVENTS, body=EVENT, key=key)[0])

        threads = [threading.Thread(target=post, args=(f"k{i}",)) for i in range(2)]
        for thread in threads:
            thread.start()
        until(lambda: blocking._busy == 2)
        assert meter.ask("POST", EVENTS, body=EVENT, key="k9")[0] == 503
        assert meter.ask("GET", "/healthz", None)[0] == 200
        database.execute("ROLLBACK")
        for thread in threads:
            thread.join(20)
        assert answers == [200, 200] and len(meter.ledger.events("run-a")) == 1
        assert meter.ask("POST", EVENTS, body=EVENT, key="k9")[0] == 200
        database.close()


def test_a_ledger_that_takes_too_long_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served_meter(tmp_path, monkeypatch, blocking=Blocking(seconds=0.3)) as meter:
        meter.ledger.put_new_runs([run()])
        database = sqlite3.connect(tmp_path / "meter.db", isolation_level=None)
        database.execute("BEGIN IMMEDIATE")
        status, answer = meter.ask("POST", EVENTS, body=EVENT)
        assert status == 503 and "ask later" in answer["error"]
        database.execute("ROLLBACK")
        until(lambda: meter.ledger.events("run-a"))  # it went on, and came to its end
        assert meter.ask("POST", EVENTS, body=EVENT)[0] == 200
        assert len(meter.ledger.events("run-a")) == 1
        database.close()


def test_an_error_of_the_ledger_stays_in_the_log(
    meter: Meter, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with sqlite3.connect(tmp_path / "meter.db") as database:
        database.execute("DROP TABLE events")
    status, answer = meter.ask("GET", EVENTS)
    assert status == 503 and "/healthz" in answer["error"]
    assert "table" not in answer["error"] and str(tmp_path) not in answer["error"]
    assert "no such table" in caplog.text


def test_an_error_of_the_meters_own_is_one_sentence_and_its_trace_stays_in_the_log(
    meter: Meter, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("tally.costing.documents.event_document", lambda event: event.nothing)
    meter.ask("POST", EVENTS, body=EVENT)
    status, answer = meter.ask("GET", EVENTS)
    assert status == 500 and "nothing" not in answer["error"]
    assert "AttributeError" in caplog.text and token_of("team-a") not in caplog.text


def test_the_log_says_who_asked_for_what_and_no_token(
    meter: Meter, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    meter.ask("GET", "/v1/runs/run-a/bill?token=secret-in-the-query")
    meter.ask("GET", "/v1/runs/a%0aFAKE%20LINE/bill", headers={"User-Agent": "evil-agent"})
    meter.ask("GET", "/v1/runs", "garbage.sec.ret")
    ours = [r.getMessage() for r in caplog.records if r.name == "tally.meter.http"]
    assert ours[0].startswith("GET /v1/runs/{run}/bill 'run-a' by team-a/pipeline-runner: 200")
    assert len(ours) == 3 and all("\n" not in line for line in ours)
    logged = "\n".join(r.getMessage() for r in caplog.records if not r.name.startswith("urllib3"))
    for secret in (token_of("team-a"), "garbage.sec.ret", "secret-in-the-query", "evil-agent"):
        assert secret not in logged
