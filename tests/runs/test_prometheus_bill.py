"""A run's bill out of a real Prometheus: what was scraped is the ledger's figure."""

import http.server
import json
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pytest

from helpers.command import tally
from helpers.ports import HeldPort
from tally.costing.ledger import Ledger, open_ledger
from tally.costing.runs import RunRecord
from tally.costing.usage import Usage
from tally.errors import RunError, SpecError
from tally.runs.prometheus_bill import compare, scraped_usd

HOUR_SECONDS = 3600
READY_SECONDS = 60.0


@dataclass(frozen=True)
class Scrape:
    """What one scrape of one meter said of a run, by step, phase and team; ago in seconds.

    Each run has a meter of its own at first, and may get another.
    """

    run: str
    usd: dict[tuple[str, ...], float]
    ago: float = 60.0
    meter: str = "first"

    def samples(self, now: float) -> Iterator[tuple[str, str, float]]:
        """Metric, the rest of the line without its time, and when."""
        at, instance = round(now - self.ago, 3), f"{self.meter}.{self.run}:8080"
        for (step, phase, *team), usd in self.usd.items():
            labels = {
                "run": self.run, "pipeline": "cnn", "step": step, "team": "".join(team) or "team-a",
                "machine_type": "n1-standard-4", "phase": phase, "instance": instance,
            }  # fmt: skip
            told = ",".join(f"{name}={json.dumps(value)}" for name, value in labels.items())
            yield "tally_cost_usd_total", f"{{{told}}} {usd!r}", at
        told = f'{{instance="{instance}"}} {at - 1:.3f}'
        yield "tally_meter_snapshot_timestamp_seconds", told, at


WORK, STARTUP, RESTART = ("train", "work"), ("train", "startup"), ("train", "restart")
OTHER = "other"
SCRAPES = [
    # counters that grow; a meter that was restarted goes on from the ledger, under another address
    Scrape("run-whole", {("prepare", "work"): 0.1, WORK: 0.5}, 1000),
    Scrape("run-whole", {("prepare", "work"): 0.25, WORK: 0.75}, 900),
    Scrape(
        "run-whole",
        {("prepare", "work"): 0.25, WORK: 2.0, RESTART: 0.125, ("train", "queue"): 0.0},
        meter=OTHER,
    ),
    # two namespaces' runs of one id
    Scrape("run-teams", {(*WORK, "team-a"): 1.0, (*WORK, "team-b"): 0.5}),
    Scrape("run-once", {WORK: 5.0}),  # born and ended between two scrapes
    # what was work is known to be lost: a restarted meter says so, the one before could not
    Scrape("run-lost", {WORK: 5.0, STARTUP: 1.0}, 120),
    Scrape("run-lost", {WORK: 3.0, RESTART: 2.0, STARTUP: 1.0}, meter=OTHER),
    Scrape("run-all-lost", {WORK: 5.0, STARTUP: 1.0}, 900),
    Scrape("run-all-lost", {RESTART: 5.25, STARTUP: 1.0}),
    # two meters on one ledger, of which the second has read it a second later
    Scrape("run-two", {WORK: 3.0, STARTUP: 1.0}, 61),
    Scrape("run-two", {WORK: 2.5, RESTART: 0.75, STARTUP: 1.0}, 60, OTHER),
    Scrape("run-old", {WORK: 2.0}, 3 * 24 * HOUR_SECONDS + 300),
    Scrape("run-old", {WORK: 3.0}, 3 * 24 * HOUR_SECONDS),
]


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a Prometheus that has made SCRAPES."""
    folder = tmp_path_factory.mktemp("prometheus")
    now = time.time()
    samples = sorted({one for scrape in SCRAPES for one in scrape.samples(now)}, key=in_order)
    lines = [f"{metric}{rest} {at:.3f}" for metric, rest, at in samples]
    text = "\n".join(["# TYPE tally_cost_usd counter", *lines, "# EOF", ""])
    (folder / "samples").write_text(text)
    (folder / "prometheus.yml").write_text("{}\n")
    subprocess.run(
        ["promtool", "tsdb", "create-blocks-from", "openmetrics", "samples", "data"],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    held = HeldPort()
    address = f"127.0.0.1:{held.number}"
    process = subprocess.Popen(
        [
            "prometheus",
            "--config.file=prometheus.yml",
            "--storage.tsdb.path=data",
            f"--web.listen-address={address}",
        ],
        cwd=folder,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_until_ready(process)
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait(timeout=30)


def in_order(sample: tuple[str, str, float]) -> tuple[str, float]:
    return sample[0], sample[2]


def wait_until_ready(process: subprocess.Popen[str]) -> None:
    """Read the log until it says so; a Prometheus that does not in time is ended, and with it the
    log."""
    late = threading.Timer(READY_SECONDS, process.kill)
    late.start()
    assert process.stderr is not None
    log = []
    for line in process.stderr:
        log.append(line)
        if "ready to receive web requests" in line:
            late.cancel()
            threading.Thread(target=process.stderr.read, daemon=True).start()
            return
    raise AssertionError("".join(log))


@pytest.fixture
def ledger(tally_home: Path) -> Iterator[Ledger]:
    """A ledger with run-whole as the meter had it when it was scraped last."""
    with open_ledger() as opened:
        run = RunRecord(
            id="run-whole", pipeline="cnn", state="succeeded", engine="cluster",
            created_at_microseconds=0, value_of_hour_usd=1.0,
        )  # fmt: skip
        opened.put_run(run)
        hours = {("prepare", "work"): 0.25, ("train", "work"): 2.0, ("train", "restart"): 0.125}
        start = 0
        for (step, phase), length in hours.items():
            stop = start + round(length * HOUR_SECONDS * 1e6)
            opened.write_usage([usage(step, phase, start, stop)])
            start = stop
        yield opened


def usage(step: str, phase: str, start: int, stop: int) -> Usage:
    """A pod that had its node, at a dollar an hour, for itself."""
    return Usage(
        run_id="run-whole", pipeline="cnn", step=step, worker="0", pod_uid=f"{step}-{phase}",
        node_uid="node", container="pod", source="conductor", start_microseconds=start,
        end_microseconds=stop, heartbeat_at_microseconds=stop, cpu_request_cores=1.0,
        phase=phase, price_usd_per_hour=1.0, catalogue_version="1",
    )  # fmt: skip


@pytest.mark.program("prometheus")
def test_the_bill_out_of_prometheus_is_the_ledgers(prometheus: str, ledger: Ledger) -> None:
    told = json.loads(compare(ledger, "run-whole", prometheus, "30d").json())
    lines = {(one["step"], one["phase"]): one for one in told["lines"]}
    assert set(lines) == {
        ("prepare", "work"),
        ("train", "work"),
        ("train", "restart"),
        ("train", "queue"),
    }
    for one in lines.values():
        assert one["prometheus_usd"] == pytest.approx(one["ledger_usd"], rel=1e-3)
    assert told["total"]["prometheus_usd"] == 2.375
    assert told["total"]["ledger_usd"] == pytest.approx(2.375)


@pytest.mark.program("prometheus")
def test_the_command_shows_both_and_how_far_they_are_apart(prometheus: str, ledger: Ledger) -> None:
    ledger.write_usage([usage("train", "work", 10 * 3600_000_000, 11 * 3600_000_000)])
    done = tally("bill", "run-whole", TALLY_PROMETHEUS=prometheus)
    assert done.returncode == 0, done.stderr
    (total,) = [line for line in done.stdout.splitlines() if line.strip().startswith("total")]
    assert total.split()[1:] == ["$2.3750", "$3.3750", "−$1.0000", "(-29.630%)"]
    as_csv = tally("bill", "run-whole", "--from-prometheus", prometheus, "--csv").stdout
    assert as_csv.splitlines()[0] == "step,phase,prometheus_usd,ledger_usd"


@pytest.mark.program("prometheus")
def test_a_run_that_the_ledger_does_not_have_is_told_alone(
    prometheus: str, tally_home: Path
) -> None:
    done = tally("bill", "run-once", "--from-prometheus", prometheus)
    assert "$5.0000" in done.stdout
    assert "ledger" not in done.stdout


@pytest.mark.program("prometheus")
def test_two_namespaces_runs_of_one_id_are_never_one_sum(prometheus: str, tally_home: Path) -> None:
    asked = ("bill", "run-teams", "--from-prometheus", prometheus)
    done = tally(*asked)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "of each of the namespaces team-a, team-b; choose one by NAMESPACE=" in done.stderr
    assert "$0.5000" in tally(*asked, "--namespace", "team-b").stdout


@pytest.mark.program("prometheus")
def test_a_run_between_two_scrapes_is_in_the_total(prometheus: str) -> None:
    assert scraped_usd(prometheus, "run-once", "1h") == {WORK: Decimal(5)}


@pytest.mark.program("prometheus")
@pytest.mark.parametrize(
    ("run", "usd"),
    [
        pytest.param("run-lost", {WORK: 3, RESTART: 2, STARTUP: 1}, id="work became restart"),
        pytest.param("run-all-lost", {RESTART: 5.25, STARTUP: 1}, id="all of it, one address"),
        pytest.param("run-two", {WORK: 2.5, RESTART: 0.75, STARTUP: 1}, id="two meters"),
    ],
)
def test_what_meters_call_otherwise_than_before_counts_once(
    prometheus: str, run: str, usd: dict[tuple[str, str], float]
) -> None:
    assert scraped_usd(prometheus, run, "1h") == usd


@pytest.mark.program("prometheus")
@pytest.mark.parametrize(
    ("run", "within", "says"),
    [
        pytest.param("run-old", "1h", r'RANGE: .*run-old" .*got 1h.*RANGE=90d', id="range"),
        pytest.param("run-none", "30d", r'run: .*got "run-none"', id="run"),
        pytest.param('x"} or vector(1) #', "30d", r"run: .*vector\(1\)", id="run with PromQL"),
        pytest.param("run\nold", "30d", r"run: ", id="run with a newline"),
        pytest.param("run-old", "a month", r'RANGE: .*got "a month".*RANGE=30d', id="duration"),
    ],
)
def test_what_prometheus_does_not_have_is_one_line(
    prometheus: str, run: str, within: str, says: str
) -> None:
    with pytest.raises(SpecError, match=says) as refused:
        scraped_usd(prometheus, run, within)
    assert "\n" not in str(refused.value)


@pytest.mark.program("prometheus")
def test_a_range_that_reaches_back_far_enough_finds_all(prometheus: str) -> None:
    assert scraped_usd(prometheus, "run-old", "4d") == {WORK: Decimal(3)}


def test_nobody_there_is_one_line(tally_home: Path) -> None:
    with HeldPort() as held:
        url = f"http://127.0.0.1:{held.number}"
        done = tally("bill", "run-whole", "--from-prometheus", url)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"TALLY_PROMETHEUS: expected Prometheus at {url}, got no answer")


@pytest.mark.parametrize("url", ["prometheus:9090", "ftp://here", "http://", "http://a b"])
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(SpecError, match="TALLY_PROMETHEUS: expected a URL"):
        scraped_usd(url, "run-whole", "1h")


class _Other(http.server.BaseHTTPRequestHandler):
    """A server that is not Prometheus."""

    def do_POST(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html>welcome</html>")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_another_server_is_told_apart() -> None:
    with http.server.HTTPServer(("127.0.0.1", 0), _Other) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(RunError, match=r"expected Prometheus's answer .*HTTP 200"):
            scraped_usd(f"http://127.0.0.1:{server.server_port}", "run-whole", "1h")
        server.shutdown()
