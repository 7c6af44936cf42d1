"""The client against a real meter, and against servers that are none or none of the best."""

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from helpers.metered_runs import HOUR, NOON, SECOND, life, node, run
from helpers.served_meter import Meter, served_meter, token_of
from tally.costing.quotes import Quote, RunEvent
from tally.costing.usage import Usage
from tally.errors import RunError, SchemaError, SpecError
from tally.meterclient import MeterClient
from tally.meterhttp import MeterRefused

START = NOON - HOUR
RUN = "0191f0a0-0000-7000-8000-0123456789ab"


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(token_of("team-a") + "\n")
    return path


@pytest.fixture
def meter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Meter]:
    with served_meter(tmp_path, monkeypatch) as meter:
        meter.ledger.write_nodes([node()])
        meter.ledger.put_new_runs([run(RUN), run("run-b", team="team-b")])
        meter.ledger.write_usage(life("pod-a", START, NOON, run_id=RUN))
        yield meter


def client_of(url: str, token_file: Path) -> MeterClient:
    client = MeterClient.from_environment(
        {"TALLY_METER_URL": url, "TALLY_METER_TOKEN_FILE": str(token_file)}
    )
    assert client is not None
    return client


def told(uid: str, **fields: object) -> Usage:
    usual = {
        "run_id": RUN, "pipeline": "cnn", "step": "train", "pod_uid": uid, "node_uid": "",
        "container": "worker", "phase": "restart", "source": "conductor",
        "start_microseconds": START + 25 * SECOND, "end_microseconds": START + 35 * SECOND,
        "heartbeat_at_microseconds": START + 35 * SECOND, "price_usd_per_hour": 0.0,
    }  # fmt: skip
    return Usage(**(usual | fields))


def test_everything_comes_back_as_the_ledger_has_it(meter: Meter, token_file: Path) -> None:
    client = client_of(meter.url + "/", token_file)
    quote = Quote(run_id=RUN, made_at_microseconds=START, low_usd=1, expected_usd=2, high_usd=3)
    event = RunEvent(run_id=RUN, at_microseconds=NOON, kind="resize", facts={"workers": 2})
    assert client.quote(RUN) is None
    client.post_quote(quote)
    client.post_events(RUN, [event])
    assert client.post_usage(RUN, [told("pod-a"), told("nobody")]) == {"nobody"}
    assert client.bill(RUN) == meter.ledger.bill(RUN)
    quote, event = replace(quote, namespace="team-a"), replace(event, namespace="team-a")
    assert client.quote(RUN) == meter.ledger.quote(RUN) == quote
    assert client.events(RUN) == meter.ledger.events(RUN) == [event]
    assert sorted(map(str, client.usage(RUN))) == sorted(map(str, meter.ledger.usage([RUN])))
    assert client.runs() == [(meter.ledger.run(RUN), meter.ledger.bill(RUN))]
    assert client.run(RUN) == meter.ledger.run(RUN)
    assert {line.phase: line.seconds for line in client.bill(RUN).lines}["restart"] == 10


def test_of_two_namespaces_runs_of_one_id_ones_own_is_meant_or_the_one_that_is_named(
    meter: Meter, token_file: Path
) -> None:
    meter.ledger.put_new_runs([run(RUN, team="team-b", pipeline="gan")])
    client = client_of(meter.url, token_file)
    meter.reviews.may = {("team-a", "get", "team-b"), ("team-a", "list", "team-b")}
    assert client.find(RUN[:8]) == RUN
    found = {record.team: bill.pipeline for record, bill in client.runs() if record.id == RUN}
    assert found == {"team-a": "cnn", "team-b": "gan"}
    assert [client.bill(RUN, name).pipeline for name in ("", "team-a", "team-b")] == [
        "cnn", "cnn", "gan",
    ]  # fmt: skip
    assert client.usage(RUN) == client.usage(RUN, "team-a") != []
    assert client.usage(RUN, "team-b") == client.events(RUN, "team-b") == []
    assert client.quote(RUN, "team-b") is None
    client.post_events(RUN, [RunEvent(run_id=RUN, at_microseconds=NOON, kind="note")])
    assert client.events(RUN, "team-b") == [] and client.events(RUN, "team-a") != []


def test_a_run_is_found_by_its_beginning_or_end(meter: Meter, token_file: Path) -> None:
    client = client_of(meter.url, token_file)
    for text in (RUN, f" {RUN.upper()} ", "0191f0", "6789ab"):
        assert client.find(text) == RUN
    for text in ("", "0191", "run-b-", "ffffff"):
        with pytest.raises(SpecError, match="run: expected its id or 6"):
            client.find(text)


def test_what_the_meter_refuses_is_one_line_and_not_asked_again(
    meter: Meter, token_file: Path
) -> None:
    client = client_of(meter.url, token_file)
    for run_id in ("run-b", "nothing", "../../healthz", "a b\r\nX: y", "?x=1", "é"):
        began = time.monotonic()
        with pytest.raises(MeterRefused, match=r"run: expected|the path: expected") as caught:
            client.bill(run_id)
        status = 403 if run_id == "run-b" else 404
        assert caught.value.status == status and caught.value.exit_code == 2
        assert "\n" not in str(caught.value) and time.monotonic() - began < 9
    with pytest.raises(MeterRefused, match=r"usage\[0\].wait_seconds") as caught:
        client.post_usage(RUN, [told("pod-a", wait_seconds=-1.0)])
    assert caught.value.status == 400


def test_the_token_is_read_for_each_request(meter: Meter, token_file: Path) -> None:
    client = client_of(meter.url, token_file)
    client.bill(RUN)
    token_file.write_text(token_of("team-b"))
    with pytest.raises(MeterRefused):
        client.bill(RUN)
    token_file.write_text(token_of("team-a", "another-account"))
    client.bill(RUN)
    assert meter.reviews.asked[-1] == token_of("team-a", "another-account")


class Tokens:
    """A source whose first token is stale."""

    def __init__(self, *tokens: str) -> None:
        self.tokens = list(tokens)

    def __call__(self, *, afresh: bool = False) -> str:
        if afresh and len(self.tokens) > 1:
            del self.tokens[0]
        return self.tokens[0]


def test_a_token_that_is_taken_no_more_is_asked_for_afresh_once(meter: Meter) -> None:
    stale = "a.stale.token"
    for tokens, good in ((Tokens(stale, token_of("team-a")), True), (Tokens(stale), False)):
        client = MeterClient.from_environment({"TALLY_METER_URL": meter.url}, tokens)
        assert client is not None
        if good:
            assert client.bill(RUN).run_id == RUN
            assert client.bill(RUN).run_id == RUN
            continue
        with pytest.raises(MeterRefused) as caught:
            client.bill(RUN)
        assert caught.value.status == 401


def test_a_token_that_is_not_there_yet_is_waited_for_like_the_meter(meter: Meter) -> None:
    asked = []

    def token(*, afresh: bool = False) -> str:
        asked.append(afresh)
        if len(asked) < 3:
            raise RunError("the API server is away")
        return token_of("team-a")

    client = MeterClient.from_environment({"TALLY_METER_URL": meter.url}, token)
    assert client is not None and client.bill(RUN).run_id == RUN
    with pytest.raises(RunError, match="the API server is away"):
        asked.clear()
        client.bill(RUN, seconds=0.05)


@pytest.mark.parametrize("content", ["", "two tokens", "a\r\nX-Evil: 1", "\u00e9", "x" * 9000])
def test_a_file_that_holds_no_token_is_a_clear_line(
    meter: Meter, token_file: Path, content: str
) -> None:
    token_file.write_text(content)
    with pytest.raises(SpecError, match="TALLY_METER_TOKEN_FILE: expected") as caught:
        client_of(meter.url, token_file).bill(RUN)
    assert "Evil" not in str(caught.value)
    token_file.unlink()
    with pytest.raises(SpecError, match="TALLY_METER_TOKEN_FILE: expected a file"):
        client_of(meter.url, token_file).bill(RUN)


@pytest.mark.parametrize(
    "url",
    [
        "tally-meter.tally.svc:8080",
        "ftp://m",
        "http://",
        "http://user:password@m",
        "http://m/?x=1",
        "http://m#a",
        "http://m:0",
        "http://m:99999",
        "http://m\r\nX: y",
        "http://[::1",
    ],
)
def test_an_address_that_is_none_is_a_clear_line(url: str) -> None:
    with pytest.raises(SpecError, match="TALLY_METER_URL: expected") as caught:
        client_of(url, Path("token"))
    assert "\n" not in str(caught.value)


def test_without_an_address_there_is_no_client_and_a_half_set_up_one_is_refused(
    token_file: Path,
) -> None:
    assert MeterClient.from_environment({}) is None
    assert MeterClient.from_environment({"TALLY_METER_URL": " "}) is None
    with pytest.raises(SpecError, match="TALLY_METER_TOKEN_FILE: expected the file"):
        MeterClient.from_environment({"TALLY_METER_URL": "http://m"})
    with pytest.raises(SpecError, match="TALLY_METER_CA: expected a file"):
        MeterClient.from_environment(
            {
                "TALLY_METER_URL": "https://m",
                "TALLY_METER_TOKEN_FILE": str(token_file),
                "TALLY_METER_CA": "/nowhere",
            }
        )


@pytest.fixture
def other() -> Iterator[Callable[[Callable[[BaseHTTPRequestHandler], None]], str]]:
    """A server that does what it is told; its address."""
    servers = []

    def make(answer: Callable[[BaseHTTPRequestHandler], None]) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answer(self)

            def log_message(self, *_: object) -> None: ...

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_address[1]}"

    yield make
    for server in servers:
        server.shutdown()
        server.server_close()


def send(handler: BaseHTTPRequestHandler, status: int, body: bytes, **headers: str) -> None:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


@pytest.mark.timing
def test_what_is_not_answered_is_asked_again(other, token_file: Path, meter: Meter) -> None:
    _, good = meter.ask("GET", f"/v1/runs/{RUN}/bill")
    times = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        times.append(time.monotonic())
        if len(times) == 1:
            handler.connection.close()
        elif len(times) < 4:
            send(handler, (500, 503)[len(times) % 2], b"oops")
        else:
            send(handler, 200, json.dumps(good).encode())

    assert client_of(other(answer), token_file).bill(RUN) == meter.ledger.bill(RUN)
    assert len(times) == 4
    assert times[3] - times[2] > times[2] - times[1] > 0.1  # more and more patiently


def test_a_meter_that_is_away_is_one_line_at_the_deadline(token_file: Path) -> None:
    client = client_of("http://127.0.0.1:9", token_file)
    began = time.monotonic()
    with pytest.raises(RunError, match=r"within 1 s, got .*; look at its /healthz") as caught:
        client.post_events(RUN, [], seconds=1.0)
    assert time.monotonic() - began < 9 and "\n" not in str(caught.value)


def test_an_answer_that_trickles_or_is_endless_is_given_up(other, token_file: Path) -> None:
    def trickle(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        try:
            while True:
                handler.wfile.write(b"[" * 10)
                handler.wfile.flush()
                time.sleep(0.02)
        except OSError:
            pass

    began = time.monotonic()
    with pytest.raises(RunError, match="within 1 s"):
        client_of(other(trickle), token_file).bill(RUN, seconds=1.0)
    assert time.monotonic() - began < 9


@pytest.mark.parametrize(
    "body", [b"<html>", b"[]", b"{}", b'{"schema": "x"}', b'{"schema": 1}', b"\xff"], ids=repr
)
def test_a_server_that_is_no_meter_is_a_clear_line(other, token_file: Path, body: bytes) -> None:
    url = other(lambda handler: send(handler, 200, body))
    with pytest.raises(SpecError, match="TALLY_METER_URL: expected the address of a meter"):
        client_of(url, token_file).bill(RUN)
    url = other(lambda handler: send(handler, 404, body))
    with pytest.raises(MeterRefused) as caught:
        client_of(url, token_file).bill(RUN)
    assert "expected an answer of its own" in str(caught.value)


def test_no_redirect_takes_the_token_elsewhere(other, token_file: Path) -> None:
    seen: list[str | None] = []
    thief = other(lambda h: (seen.append(h.headers["Authorization"]), send(h, 200, b"{}"))[1])
    url = other(lambda handler: send(handler, 307, b"", Location=f"{thief}/v1"))
    with pytest.raises(MeterRefused):
        client_of(url, token_file).bill(RUN)
    assert not seen


def test_a_newer_meter_that_does_not_speak_ours_is_refused_with_both_named(
    other, token_file: Path
) -> None:
    url = other(lambda handler: send(handler, 200, b'{"schema": 7, "bill": {}}'))
    with pytest.raises(SchemaError, match="expected schema version 1 or older, got 7"):
        client_of(url, token_file).bill(RUN)


def test_it_says_which_schema_it_speaks_and_keeps_its_token_out_of_the_address(
    other, token_file: Path
) -> None:
    seen = {}

    def answer(handler: BaseHTTPRequestHandler) -> None:
        seen.update(handler.headers.items(), path=handler.path)
        send(handler, 404, b"{}")

    with pytest.raises(MeterRefused):
        client_of(other(answer), token_file).bill("a/b")
    assert seen["Tally-Schema"] == "1"
    assert seen["Authorization"] == f"Bearer {token_of('team-a')}"
    assert seen["path"] == "/v1/runs/a%2Fb/bill"


def test_the_client_needs_neither_kubernetes_nor_a_database() -> None:
    code = "import sys, tally.meterclient; print(*sys.modules)"
    import subprocess

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert not loaded & {"kubernetes", "kopf", "sqlalchemy", "aiohttp", "tensorflow", "pydantic"}


@pytest.mark.timing
def test_a_meter_that_has_no_room_now_is_asked_again_when_it_says(
    other, token_file: Path, meter: Meter
) -> None:
    _, good = meter.ask("GET", f"/v1/runs/{RUN}/bill")
    times = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        times.append(time.monotonic())
        if len(times) == 1:
            send(handler, 429, b'{"error": "too much"}', **{"Retry-After": "1"})
        else:
            send(handler, 200, json.dumps(good).encode())

    assert client_of(other(answer), token_file).bill(RUN) == meter.ledger.bill(RUN)
    assert len(times) == 2 and times[1] - times[0] >= 1


@pytest.mark.parametrize(
    ("given", "seconds"), [("7", 7), ("99999", 60), ("Fri, 31 Dec", 0), ("-1", 0), ("\u0663", 0)]
)
def test_where_the_meter_has_no_room_until_the_deadline_that_is_told_at_once(
    other, token_file: Path, given: str, seconds: float
) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        retry = given.encode().decode("latin-1")
        send(handler, 429, b'{"error": "too much"}', **{"Retry-After": retry})

    with pytest.raises(MeterRefused, match="too much") as caught:
        client_of(other(answer), token_file).bill(RUN, seconds=0.1)
    assert (caught.value.status, caught.value.retry_seconds) == (429, seconds)
