"""Rules and alerts by promtool, on series of which the answer is known."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from helpers.prometheus.server import MANIFESTS, settings
from tally.kube.manifests import SCRAPER

pytestmark = pytest.mark.exact

TESTS = sorted(Path(__file__).parent.glob("*.test.yaml"))
RULES = ("rules.yaml", "alerts.yaml")
EXACT_ENOUGH = re.compile(r"\b(rate|irate|increase|delta|idelta|deriv|resets|changes)\b")


def promtool(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["promtool", *map(str, arguments)], capture_output=True, text=True, timeout=120
    )


def copied(folder: Path) -> Path:
    """Rules and tests in one folder, as promtool wants them."""
    for path in (*TESTS, *(MANIFESTS / name for name in RULES)):
        shutil.copy(path, folder)
    return folder


@pytest.mark.program("promtool")
def test_the_rules_are_rules() -> None:
    done = promtool("check", "rules", *(MANIFESTS / name for name in RULES))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SUCCESS" in done.stdout


@pytest.mark.program("promtool")
@pytest.mark.parametrize("test", [path.name for path in TESTS])
def test_rules_and_alerts_give_the_known_answers(test: str, tmp_path: Path) -> None:
    done = promtool("test", "rules", copied(tmp_path) / test)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.program("promtool")
@pytest.mark.parametrize(
    ("file", "right", "wrong"),
    [
        ("rules.yaml", "last_over_time(tally_cost_usd_total", "increase(tally_cost_usd_total"),
        ("rules.yaml", "and on (instance) topk(1,", "and on (instance) topk(9,"),
        (
            "rules.yaml",
            "tally_cost_usd:sum + on (run, team)",
            "tally_cost_usd:sum - on (run, team)",
        ),
        ("rules.yaml", "sum / on (run, team)", "sum / on (run)"),
        ("alerts.yaml", "0.8 <= ", "0.9 <= "),
        ("alerts.yaml", "tally_pending_seconds) > 300", "tally_pending_seconds) > 3000"),
        ("alerts.yaml", "absent(tally_meter_snapshot_timestamp_seconds)\n          or ", ""),
        ("alerts.yaml", "min_over_time(tally_meter_unwritten_rows[5m]) > 0", "vector(0) > 0"),
        ("alerts.yaml", "unless on (instance) time()", "unless on (instance) 10000 + time()"),
    ],
    ids=[
        "increase",
        "two meters",
        "time",
        "same id",
        "budget",
        "pending",
        "absent",
        "unwritten",
        "busy",
    ],
)
def test_the_tests_see_a_broken_rule(file: str, right: str, wrong: str, tmp_path: Path) -> None:
    folder = copied(tmp_path)
    text = (folder / file).read_text()
    assert right in text
    (folder / file).write_text(text.replace(right, wrong))
    assert promtool("test", "rules", *sorted(folder.glob("*.test.yaml"))).returncode != 0


def expressions() -> dict[str, str]:
    """Every expression of rules, alerts and dashboard, by where it stands."""
    found = {}
    for name in RULES:
        for group in yaml.safe_load((MANIFESTS / name).read_text())["groups"]:
            for rule in group["rules"]:
                found[rule.get("record") or rule["alert"]] = rule["expr"]
    board: Any = json.loads((MANIFESTS / "dashboard.json").read_text())
    for panel in board["panels"]:
        for target in panel.get("targets", []):
            found[f"{panel['title']} {target['refId']}"] = target["expr"]
    return found


def test_money_is_never_read_by_what_misses_a_series_first_value() -> None:
    assert len(expressions()) > 40
    for where, expr in expressions().items():
        if "usd" in expr or "hourly_cost" in expr:
            assert not EXACT_ENOUGH.search(expr), f"{where}: {expr}"


def test_every_alert_says_what_is_the_matter() -> None:
    groups = yaml.safe_load((MANIFESTS / "alerts.yaml").read_text())["groups"]
    for rule in (rule for group in groups for rule in group["rules"]):
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"]["summary"].endswith(".")


def test_prometheus_may_find_and_read_and_nothing_else() -> None:
    objects = list(yaml.safe_load_all((MANIFESTS / "account.yaml").read_text()))
    (role,) = [each for each in objects if each["kind"] == "ClusterRole"]
    rights = {
        (resource, verb)
        for rule in role["rules"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert rights == {
        ("pods", "list"), ("pods", "watch"), ("nodes", "list"), ("nodes", "watch"),
        ("nodes/metrics", "get"),
    }  # fmt: skip
    roles = {
        sd["role"] for job in settings()["scrape_configs"] for sd in job["kubernetes_sd_configs"]
    }
    assert roles == {"pod", "node"}


def test_gangs_let_in_whom_the_manifest_tells_to_be_prometheus() -> None:
    ((key, value),) = SCRAPER.items()
    assert f"{key}: {value}" in (MANIFESTS / "prometheus.yaml").read_text()


def test_the_dashboard_is_laid_out() -> None:
    made = json.loads((MANIFESTS / "dashboard.json").read_text())
    ids = [panel["id"] for panel in made["panels"]]
    assert len(set(ids)) == len(ids)
    taken: set[tuple[int, int]] = set()
    for panel in made["panels"]:
        place = panel["gridPos"]
        own = {
            (place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])
        }
        assert max(x for x, _ in own) < 24
        assert not own & taken, panel["title"]
        taken |= own
    for panel in made["panels"]:
        assert panel["type"] == "row" or panel["description"].endswith(".")
