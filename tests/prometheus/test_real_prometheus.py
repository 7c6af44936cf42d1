"""A real Prometheus scrapes real text of a real ledger: its figures are the ledger's."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers.metered_runs import HOUR, SECOND, billed_usd, heard
from helpers.prometheus.cluster_by_hand import (
    TOKEN,
    Meter,
    Training,
    begin,
    gang,
    gang_pods,
    now,
    pod,
    write_nodes,
)
from helpers.prometheus.dashboard import data, filled, targets, values_of, variables
from helpers.prometheus.discovered import by_files, pod_targets, selector, write_targets
from helpers.prometheus.server import Prometheus, settings, wait_until
from tally.costing.ledger import Ledger, open_ledger
from tally.costing.usage import Usage

pytestmark = [pytest.mark.program("prometheus"), pytest.mark.timeout(180)]

EXACT = 1e-3
INTERVAL_SECONDS = 1
RUN = "run-lasts"


class Scraped:
    """Everything that is there, with one run that lasts."""

    def __init__(self, ledger: Ledger, folder: Path) -> None:
        self.ledger, self.meter, self.training = ledger, Meter(ledger), Training()
        self.began = now() - 20 * 60 * SECOND
        write_nodes(ledger, now())
        begin(ledger, "run-lasts", "cnn")
        self.tick()
        shipped = settings()
        config = by_files(shipped, folder)
        quick = f"{INTERVAL_SECONDS}s"
        config["global"] |= {
            "scrape_interval": quick, "scrape_timeout": quick, "evaluation_interval": quick,
        }  # fmt: skip
        config["scrape_configs"] = config["scrape_configs"][:2]  # kubelets are for a cluster
        (folder / "token").write_text(TOKEN)
        config["scrape_configs"][0]["authorization"]["credentials_file"] = str(folder / "token")
        labels = {"labels": {"app.kubernetes.io/name": "tally-meter"}}
        http = {"name": "meter", "ports": [{"name": "http", "containerPort": self.meter.port}]}
        for job, pods in (
            ("tally-meter", [pod("tally-meter-abc", labels, http)]),
            ("tally-workers", gang_pods("run-lasts", self.training.ports)),
        ):
            write_targets(folder, job, pod_targets(pods, selector(shipped, job)))
        self.prometheus = Prometheus(folder, config)

    def tick(self) -> None:
        """The run goes on, and is heard of."""
        at = now()
        self.ledger.write_usage(gang("run-lasts", self.began, at))
        self.training.step()

    def write_whole_run(self, run_id: str, seconds: int) -> None:
        """A run with all its pods, born and ended within the last seconds."""
        begin(self.ledger, run_id, "rnn", state="succeeded")
        stop = now()
        rows: list[Usage] = gang(run_id, stop - seconds * SECOND, stop, stop)
        self.ledger.write_usage(heard(rows, stop))

    def cost(self, run_id: str) -> float | None:
        """As bills out of Prometheus are made."""
        return self.prometheus.value(
            f'sum(last_over_time(tally_cost_usd_total{{run="{run_id}"}}[10m]))'
        )

    def agrees(self, run_id: str) -> bool:
        found, wanted = self.cost(run_id), float(billed_usd(self.ledger, run_id))
        assert wanted > 0
        return found is not None and abs(found / wanted - 1) <= EXACT

    def close(self) -> None:
        self.prometheus.kill()
        self.meter.close()
        self.training.close()


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scraped]:
    folder = tmp_path_factory.mktemp("prometheus")
    with open_ledger(f"sqlite:///{folder}/ledger.db") as ledger:
        made = Scraped(ledger, folder)
        try:
            made.prometheus.start()
            made.meter.wait_for_scrape()
            yield made
        finally:
            made.close()


def test_both_jobs_find_what_they_scrape_and_who_pays_is_the_namespace(scraped: Scraped) -> None:
    def all_up() -> list[Any]:
        found = scraped.prometheus.get("targets", state="active")["activeTargets"]
        return found if found and all(each["health"] == "up" for each in found) else []

    targets = {
        (each["labels"]["job"], each["labels"].get("worker")): each for each in wait_until(all_up)
    }
    assert targets.keys() == {("tally-meter", None), ("tally-workers", "0"), ("tally-workers", "1")}
    labels = targets["tally-workers", "1"]["labels"]
    assert labels.pop("instance").startswith("127.0.0.1:")
    assert labels == {
        "job": "tally-workers", "run": "run-lasts", "pipeline": "cnn", "step": "train",
        "team": "team-a", "worker": "1",
    }  # fmt: skip


def test_the_bill_out_of_prometheus_is_the_ledgers(scraped: Scraped) -> None:
    """Of a run that lasts, and of one that was born and ended between two scrapes."""
    scraped.meter.wait_for_scrape()
    scraped.write_whole_run("run-short", 9)
    scraped.tick()
    for run_id in ("run-short", "run-lasts"):
        wait_until(lambda run_id=run_id: scraped.agrees(run_id))
    sums = scraped.prometheus
    for run_id in ("run-short", "run-lasts"):
        wait_until(lambda run_id=run_id: sums.value(f'run:tally_cost_usd:sum{{run="{run_id}"}}'))
        recorded = sums.value(f'run:tally_cost_usd:sum{{run="{run_id}"}}')
        assert recorded == pytest.approx(float(billed_usd(scraped.ledger, run_id)), rel=EXACT)


@pytest.mark.slow
def test_a_prometheus_that_was_away_catches_up(scraped: Scraped) -> None:
    scraped.meter.wait_for_scrape()
    scraped.prometheus.kill()
    away, seen = time.monotonic(), scraped.meter.scrapes
    scraped.write_whole_run("run-unseen", 7)
    while time.monotonic() < away + 2 * INTERVAL_SECONDS + 0.5:
        scraped.tick()  # two scrapes are missed; each write waits for the disk
    assert scraped.meter.scrapes == seen
    scraped.prometheus.start()
    for run_id in ("run-unseen", "run-lasts"):
        wait_until(lambda run_id=run_id: scraped.agrees(run_id))


def test_a_meter_that_restarts_changes_nothing(scraped: Scraped) -> None:
    wait_until(lambda: scraped.agrees("run-lasts"))
    before = scraped.cost("run-lasts")
    scraped.meter.restart()
    scraped.meter.wait_for_scrape()
    scraped.meter.wait_for_scrape()
    assert scraped.cost("run-lasts") == before
    series = 'resets(tally_cost_usd_total{run="run-lasts"}[5m])'
    assert set(scraped.prometheus.query(series).values()) == {0.0}


def test_every_rule_is_evaluated_without_an_error(scraped: Scraped) -> None:
    def evaluated() -> list[Any]:
        groups = scraped.prometheus.get("rules")["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        return rules if all(rule["health"] != "unknown" for rule in rules) else []

    rules = wait_until(evaluated)
    assert len(rules) > 20
    assert [(r["name"], r.get("lastError")) for r in rules if r["health"] != "ok"] == []


def test_the_alert_of_a_machine_type_without_a_price_is_under_way(scraped: Scraped) -> None:
    wait_until(
        lambda: (
            [
                alert["labels"]["machine_type"]
                for alert in scraped.prometheus.get("alerts")["alerts"]
                if alert["labels"]["alertname"] == "TallyUnpricedNodes"
            ]
            == ["x9-mega"]
        )
    )


@pytest.mark.parametrize(("name", "target"), targets(), ids=[name for name, _ in targets()])
def test_each_query_of_the_dashboard_finds_data(
    name: str, target: dict[str, Any], scraped: Scraped
) -> None:
    def found() -> Any:
        scraped.training.step()
        return data(scraped.prometheus, target, RUN)

    wait_until(found)


def test_variables_of_the_dashboard_find_values(scraped: Scraped) -> None:
    assert variables() == ["pipeline", "run"]
    for name in variables():
        assert values_of(scraped.prometheus, name, RUN), name


def test_the_days_of_the_dashboard_are_what_the_nodes_cost(scraped: Scraped) -> None:
    """Of two days: idle, overhead and work together."""
    (expr,) = [target["expr"] for name, target in targets() if name == "All nodes A"]
    midnight = now() // (24 * HOUR) * 24 * HOUR
    scraped.meter.restart()  # days are read anew
    scraped.meter.wait_for_scrape()
    until = max(one.heartbeat_at_microseconds for one in scraped.ledger.nodes())
    hours = (until - max(midnight - 24 * HOUR, until - 40 * HOUR)) / HOUR
    wanted = hours * (0.1942 + 0.71)
    wait_until(
        lambda: scraped.prometheus.value(filled(expr, RUN)) == pytest.approx(wanted, rel=EXACT)
    )
