"""A meter and workers for Prometheus to scrape: real text of a real ledger, over real HTTP."""

import http.server
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from prometheus_client import CollectorRegistry, start_http_server

from helpers.metered_runs import HOUR, SECOND, life, node, run
from tally.costing.ledger import Ledger
from tally.costing.quotes import Quote
from tally.costing.usage import Usage
from tally.gang.coordinator.events import Observation
from tally.gang.worker_metrics import WorkerMetrics
from tally.kube.manifests import GangSpec, gang_objects
from tally.kube.template import WorkerTemplate
from tally.learning.position import Position
from tally.learning.standing import Standing
from tally.meter.exposition import CONTENT_TYPE, Exposition, MeterState
from tally.meter.snapshot import Snapshot, take

TOKEN = "a-token-of-the-meters-audience"


def now() -> int:
    return time.time_ns() // 1000


class Meter:
    """A meter's /metrics: its ledger read anew for each scrape, which is counted."""

    def __init__(self, ledger: Ledger) -> None:
        """Serves from now on."""
        self.ledger, self.scrapes = ledger, 0
        self._scraped = threading.Condition()
        self._before: Snapshot | None = None
        self._exposition = Exposition()
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def restart(self) -> None:
        """What a new process knows: nothing but the ledger."""
        with self._scraped:
            self._before, self._exposition = None, Exposition()

    def wait_for_scrape(self, seconds: float = 30.0) -> None:
        """Until the next one is answered."""
        with self._scraped:
            seen = self.scrapes
            assert self._scraped.wait_for(lambda: self.scrapes > seen, seconds), "no scrape"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _text(self) -> bytes:
        with self._scraped:
            self._before = take(self.ledger, now(), self._before)
            self._exposition.show(self._before)
            return self._exposition.text(MeterState(last_write_microseconds=now(), ledger_errors=0))

    def _told(self) -> None:
        with self._scraped:
            self.scrapes += 1
            self._scraped.notify_all()

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        meter = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.headers["Authorization"] != f"Bearer {TOKEN}":
                    self.send_error(401)
                    return
                text = meter._text()
                self.send_response(200)
                self.send_header("Content-Type", CONTENT_TYPE)
                self.end_headers()
                self.wfile.write(text)
                meter._told()

            def log_message(self, *_: object) -> None:
                pass

        return Handler


class Training:
    """Two workers' own metrics; the second waits a third of its time."""

    def __init__(self) -> None:
        """Serves from now on."""
        self.ports, self._workers = [], [(WorkerMetrics(), Standing(Position())) for _ in "ab"]
        self._servers: list[Callable[[], None]] = []
        for metrics, _ in self._workers:
            registry = CollectorRegistry()
            registry.register(metrics)
            server, thread = start_http_server(0, "127.0.0.1", registry)
            self.ports.append(server.server_port)
            self._servers += [server.shutdown, server.server_close, thread.join]

    def step(self) -> None:
        """One of 30 ms."""
        for index, (metrics, standing) in enumerate(self._workers):
            standing.steps += 1
            standing.own_examples += 16
            standing.waited_seconds += 0.01 * index
            seen = Observation(
                generation=1, step=standing.steps, examples_per_second=1000.0, step_seconds=0.03,
                sync_seconds=0.004 + 0.01 * index, wait_seconds=standing.waited_seconds, loss=0.5,
                gradient_noise_scale=77.0,
            )  # fmt: skip
            metrics.observe(seen, standing, 2)

    def close(self) -> None:
        for end in self._servers:
            end()


def gang_pods(run_id: str, ports: list[int]) -> list[dict[str, Any]]:
    """Pods of a gang as its Job makes them, at ports of this machine."""
    spec = GangSpec(
        run_id=run_id, step="train", pipeline="cnn", team="liar", attempt=1, namespace="team-a",
        coordinator="conductor:7070", deadline_seconds=600,
    )  # fmt: skip
    template = WorkerTemplate(image="worker", cpu_cores=1, memory_bytes=2**30)
    job = gang_objects(spec, template, b"token", len(ports)).job
    pods = []
    for index, port in enumerate(ports):
        made = job["spec"]["template"]
        completion = {"batch.kubernetes.io/job-completion-index": str(index)}
        (container,) = made["spec"]["containers"]
        (metrics,) = container["ports"]
        pods.append(
            pod(
                f"{job['metadata']['name']}-{index}-x7k2p",
                {**made["metadata"], "annotations": completion},
                {**container, "ports": [{**metrics, "containerPort": port}]},
            )
        )
    return pods


def pod(name: str, meta: dict[str, Any], container: dict[str, Any]) -> dict[str, Any]:
    """As the API server gives it."""
    return {
        "metadata": {**meta, "name": name, "namespace": "team-a", "uid": f"uid-{name}"},
        "spec": {"nodeName": "node-0", "containers": [container]},
        "status": {"phase": "Running", "podIP": "127.0.0.1"},
    }


def write_nodes(ledger: Ledger, at: int) -> None:
    """Two with a price, one without, for 40 hours."""
    start = at - 40 * HOUR
    gpu = {
        "machine_type": "g2-standard-4", "accelerator": "nvidia-l4", "accelerator_capacity": 1.0,
        "cpu_share": 0.4, "memory_share": 0.2, "accelerator_share": 0.4,
        "price_usd_per_hour": 0.71,
    }  # fmt: skip
    nothing = {"machine_type": "x9-mega", "price_usd_per_hour": 0.0, "catalogue_version": ""}
    made = [node("node-0", start), node("node-1", start, **gpu), node("node-2", start, **nothing)]
    ledger.write_nodes([replace(one, heartbeat_at_microseconds=at) for one in made])


def begin(ledger: Ledger, run_id: str, pipeline: str, **fields: object) -> None:
    """A run with its quote and budget."""
    ledger.put_run(run(run_id, pipeline=pipeline, **fields))
    made = Quote(
        run_id=run_id, namespace="team-a", made_at_microseconds=now(), low_usd=0.5,
        expected_usd=0.7, high_usd=0.9, budget_usd=2.0,
    )  # fmt: skip
    ledger.put_quote(made)


def gang(run_id: str, start: int, at: int | None, stop: int | None = None) -> list[Usage]:
    """Two workers and a driver; open ones have a heartbeat at `at`."""
    rows: list[Usage] = []
    for index in range(2):
        place = {"node_uid": f"uid-node-{index}", "run_id": run_id, "wait_seconds": 11.0}
        if index:
            place |= {
                "machine_type": "g2-standard-4", "accelerator_count": 1.0,
                "price_usd_per_hour": 0.71,
            }  # fmt: skip
        rows += life(f"{run_id}-{index}", start, stop, cpu_used_core_seconds=40.0, **place)
    rows += life(f"{run_id}-d", start - 60 * SECOND, start, run_id=run_id, step="prepare")
    rows.append(
        replace(rows[2], phase="restart", start_microseconds=start + 100 * SECOND,
                end_microseconds=start + 110 * SECOND, pod_uid=f"{run_id}-r")
    )  # fmt: skip
    return [
        row
        if row.end_microseconds
        else replace(row, heartbeat_at_microseconds=at or row.start_microseconds)
        for row in rows
    ]
