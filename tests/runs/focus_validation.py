"""The export as the FinOps Foundation's validator sees it; run by `make test-focus`.

It runs in an environment of its own (scripts/test-focus.sh), exits with 0 whatever it finds, and
tells what it found as JUnit's XML.
"""

import csv
import json
import os
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pytest

from helpers.command import QUICK, submit_json, tally
from helpers.costing.cluster_rows import node
from helpers.costing.histories import HOUR
from helpers.kube.recorded import recorded
from tally.costing.ledger import open_ledger
from tally.costing.nodes import Node
from tally.costing.usage import Usage
from tally.kube.podusage import pod_usage
from tally.kube.quantities import microseconds

ENVIRONMENT = Path(os.environ["FOCUS_ENVIRONMENT"])
PODS = ("kfp-dag-driver", "kfp-driver", "kfp-executor", "exit-3", "killed")
# What Tally's data has, as the standard asks for it: rules of the columns for it are checked too.
HAS = (
    "ACCOUNT_NAMING", "BILLING_BASED_ON_PROVISIONED_RESOURCES", "MULTIPLE_PRICING_CATEGORIES",
    "NEGOTIATED_PRICING", "PRICING_BILLING_CURRENCY_DIFFERENCES", "PUBLIC_PRICE_LIST", "REGION",
    "RESOURCE_TYPE_ASSIGNMENT", "SUB_ACCOUNT", "TAGGING", "UNIT_PRICING", "USAGE_MEASUREMENT",
)  # fmt: skip
# An invoice's id is null or is not: the validator counts the one that does not hold as a failure,
# beside the rule that one of the two must hold.
ALTERNATIVES = {"InvoiceId-C-005-C": "InvoiceId-C-003-C"}


@dataclass(frozen=True)
class Verdict:
    """Rules by what came of them."""

    passed: set[str]
    failed: set[str]


def validate(path: Path) -> Verdict:
    """What the validator finds in a file."""
    (home,) = ENVIRONMENT.glob("lib/python3*/site-packages")
    found = path.with_suffix(".xml")
    done = subprocess.run(
        [
            ENVIRONMENT / "bin" / "focus-validator",
            *("--data-file", path, "--validate-version", "1.2", "--block-download"),
            *("--applicability-criteria", ",".join(f"{name}_SUPPORTED" for name in HAS)),
            *("--output-type", "unittest", "--output-destination", found),
        ],
        cwd=home,  # it reads its list of currencies from there
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    passed, failed = set(), set()
    for case in ET.parse(found).iter("testcase"):
        rule = case.attrib["name"].split(" :: ")[0]
        if case.find("skipped") is None:
            (passed if len(case) == 0 else failed).add(rule)
    failed -= {one for one, either in ALTERNATIVES.items() if either in passed}
    return Verdict(passed, failed)


def pods_of_a_cluster() -> tuple[list[Usage], list[Node]]:
    """Pods as a real API server showed them, of a run of KFP and of gangs, and their node."""
    pods = [recorded(name) for name in PODS]
    created = [microseconds(pod["metadata"]["creationTimestamp"]) or 0 for pod in pods]
    begin, end = min(created) - HOUR, max(created) + 2 * HOUR
    there = node(begin, end, node_uid="6b1a", name="node-0", spot=True, software_usd_per_hour=0.07)
    rows: list[Usage] = []
    for pod in pods:
        rows += pod_usage(pod, there, now_microseconds=end, used=None, gone=True, before=[])
    return rows, [there]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `tally export` writes of a ledger with a real run of this machine and of a cluster."""
    folder = tmp_path_factory.mktemp("focus")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TALLY_HOME", str(folder / "home"))
        patch.setenv("TALLY_SOFTWARE_PRICE_PER_HOUR", "0.02")
        assert submit_json("cnn", *QUICK)["state"] == "succeeded"
        rows, nodes = pods_of_a_cluster()
        with open_ledger() as ledger:
            ledger.write_usage(rows)
            ledger.write_nodes(nodes)
        out = folder / "focus.csv"
        done = tally("export", "focus", "--out", str(out))
        assert done.returncode == 0, done.stderr
        billed = tally("bill", "--by", "provider", "--json")
        (folder / "bill.json").write_text(billed.stdout)
    return out


def read(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_the_validator_accepts_the_export(exported: Path) -> None:
    rows = read(exported)
    kinds = {(row["ProviderName"], row["x_Kind"], row["ServiceCategory"]) for row in rows}
    assert {("local", "workload", "Compute"), ("gke", "idle", "Compute")} < kinds
    assert ("local", "workload", "AI and Machine Learning") in kinds
    total = json.loads(exported.with_name("bill.json").read_text())["total"]["total_usd"]
    assert float(sum(Decimal(row["BilledCost"]) for row in rows)) == pytest.approx(total, rel=1e-12)
    verdict = validate(exported)
    assert verdict.failed == set()
    assert len(verdict.passed) > 250


def _without(name: str) -> Callable[[dict[str, str]], dict[str, str]]:
    return lambda row: {key: value for key, value in row.items() if key != name}


def _with(**values: str) -> Callable[[dict[str, str]], dict[str, str]]:
    return lambda row: row | values


@pytest.mark.parametrize(
    ("broken", "rule"),
    [
        pytest.param(_without("BilledCost"), "CostAndUsage-D-006-M", id="no cost"),
        pytest.param(_with(ChargeCategory="Spend"), "ChargeCategory-C-003-M", id="category"),
        pytest.param(_with(SkuPriceId="one"), "SkuPriceId-C-008-M", id="a price of two SKUs"),
        pytest.param(_with(PricingUnit="node/h"), "PricingUnit-C-003-O", id="unit"),
        pytest.param(_with(BillingCurrency="dollars"), "BillingCurrency-C-003-M", id="currency"),
        pytest.param(_with(ChargePeriodEnd="tomorrow"), "ChargePeriodEnd-C-001-M", id="date"),
        pytest.param(_with(InvoiceIssuerName="a third"), "BilledCost-C-005-C", id="issuer"),
    ],
)
def test_the_validator_refuses_what_is_broken(
    exported: Path, tmp_path: Path, broken: Callable[[dict[str, str]], dict[str, str]], rule: str
) -> None:
    rows = [broken(row) for row in read(exported)]
    path = tmp_path / "broken.csv"
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    assert rule in validate(path).failed
