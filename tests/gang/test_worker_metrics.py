"""A worker's own metrics: right, cheap, on its own address only, and never in the way."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from helpers.learning.made_training import Crew, config, pictures
from helpers.ports import HeldPort
from tally.gang.coordinator.events import Observation, Observed
from tally.gang.worker_metrics import WorkerMetrics, serve
from tally.learning.position import Position
from tally.learning.standing import Standing

STEP_LIMIT_SECONDS = 5e-6
NAMES = {
    "tally_worker_examples_total",
    "tally_worker_wait_seconds_total",
    "tally_worker_step_seconds_bucket",
    "tally_worker_step_seconds_count",
    "tally_worker_step_seconds_sum",
    "tally_worker_sync_seconds_bucket",
    "tally_worker_sync_seconds_count",
    "tally_worker_sync_seconds_sum",
    "tally_worker_gradient_noise_scale",
    "tally_worker_generation",
    "tally_worker_world_size",
}


def observation(**changes: float) -> Observation:
    usual = {
        "generation": 2, "step": 7, "examples_per_second": 320.0, "step_seconds": 0.02,
        "sync_seconds": 0.004, "wait_seconds": 0.5, "loss": 0.7, "gradient_noise_scale": 88.0,
    }  # fmt: skip
    return Observation(**(usual | changes))


def values(text: str) -> dict[str, float]:
    """By name, and a histogram's bucket by its bound."""
    return {
        sample.name + "".join(sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def shown(metrics: WorkerMetrics) -> dict[str, float]:
    registry = CollectorRegistry()
    registry.register(metrics)
    return values(generate_latest(registry).decode())


def scraped(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        return str(answer.read().decode())


def test_calls_of_one_step_and_of_many_add_up() -> None:
    metrics = WorkerMetrics()
    metrics.observe(observation(), Standing(Position(), 0.5, steps=1, own_examples=16), 2)
    alone = observation(generation=3, step_seconds=0.3, sync_seconds=0.0)
    metrics.observe(alone, Standing(Position(), 0.5, steps=5, own_examples=144), 1)
    found = shown(metrics)
    assert found["tally_worker_examples_total"] == 144
    assert found["tally_worker_wait_seconds_total"] == 0.5
    assert found["tally_worker_step_seconds_count"] == 5
    assert found["tally_worker_step_seconds_sum"] == pytest.approx(0.02 + 4 * 0.3)
    assert found["tally_worker_step_seconds_bucket0.01"] == 0
    assert found["tally_worker_step_seconds_bucket0.025"] == 1
    assert found["tally_worker_step_seconds_bucket0.5"] == 5
    assert found["tally_worker_step_seconds_bucket+Inf"] == 5
    assert found["tally_worker_sync_seconds_count"] == 1
    assert found["tally_worker_world_size"] == 1
    assert found["tally_worker_generation"] == 3
    assert found["tally_worker_gradient_noise_scale"] == 88.0


@pytest.mark.timing
def test_a_step_pays_less_than_five_microseconds(capsys: pytest.CaptureFixture[str]) -> None:
    metrics, standing, seen = WorkerMetrics(), Standing(Position()), observation()
    fastest = float("inf")
    for _ in range(20):  # the machine is others' too: the fastest thousand counts
        began = time.perf_counter()
        for _ in range(1000):
            standing.steps += 1
            standing.own_examples += 16
            metrics.observe(seen, standing, 2)
        fastest = min(fastest, (time.perf_counter() - began) / 1000)
    with capsys.disabled():
        print(f"\nworker metrics: {fastest * 1e6:.2f} µs a step")
    assert fastest < STEP_LIMIT_SECONDS


def test_it_listens_on_its_own_address_and_a_taken_port_stops_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    held = HeldPort()
    port = held.number
    monkeypatch.setenv("TALLY_METRICS_PORT", str(port))
    serve("127.0.0.1").observe(observation(), Standing(Position(), steps=1, own_examples=9), 2)
    assert "tally_worker_examples_total 9.0" in scraped(port)
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.2", port), 5).close()
    assert capsys.readouterr().err == ""
    for bad in (str(port), "http", "99999"):
        monkeypatch.setenv("TALLY_METRICS_PORT", bad)
        serve("127.0.0.1").observe(observation(), Standing(Position(), steps=1), 2)
        said = capsys.readouterr().err
        assert said.startswith(f"TALLY_METRICS_PORT: expected a free port of 127.0.0.1, got {bad} ")
        assert said.count("\n") == 1
    assert "tally_worker_examples_total 9.0" in scraped(port)


class Measured(Crew):
    """A crew whose workers have a port each."""

    held: tuple[HeldPort, ...] = ()

    def start(self, index: int) -> subprocess.Popen[bytes]:
        self.held += (HeldPort(),)
        self.environment["TALLY_METRICS_PORT"] = str(self.held[-1].number)
        return super().start(index)


def test_a_gangs_workers_tell_each_their_own_part(tmp_path: Path) -> None:
    given = config(tmp_path, pictures(tmp_path / "data", 60_000), max_workers=2, cores=1, epochs=2)
    crew = Measured(tmp_path, given, 2)
    try:
        crew.until(Observed, where=lambda e: e.observation.step >= 20)
        for held in crew.held:
            text = scraped(held.number)
            found = values(text)
            names = {s.name for f in text_string_to_metric_families(text) for s in f.samples}
            assert names == NAMES
            assert found["tally_worker_world_size"] == 2
            assert found["tally_worker_generation"] == 1
            steps = found["tally_worker_step_seconds_count"]
            assert steps >= 10
            # half of each batch of 32; a step may end between the two readings
            assert abs(found["tally_worker_examples_total"] - 16 * steps) <= 32
            assert (
                0 < found["tally_worker_sync_seconds_sum"] < found["tally_worker_step_seconds_sum"]
            )
    finally:
        for process in crew.processes.values():
            process.kill()
            process.wait()
        crew.coordinator.close()


def test_without_a_port_nothing_listens_and_the_library_is_not_loaded() -> None:
    code = (
        "import sys, tally.learning.worker as w; "
        "assert w._measured(w.WorkerContext.read()) is None; "
        "import tally.learning.generations; assert 'prometheus_client' not in sys.modules"
    )
    told = {"TALLY_COORDINATOR": "c:1", "TALLY_TOKEN_FILE": "token", "TALLY_WORKER": "0"}
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, env=os.environ | told)
