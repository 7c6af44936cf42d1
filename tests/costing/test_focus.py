"""The export: FOCUS 1.2 as its text has it; the validator of the standard is asked elsewhere."""

import json
import re
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.costing.cluster_rows import NOVEMBER_END, node, pod
from helpers.costing.histories import HOUR, any_rows, row
from tally.costing.allocation import charge
from tally.costing.focus import COLUMNS, focus_rows
from tally.costing.merge import merge
from tally.costing.node_shares import share_nodes
from tally.costing.usage import Usage

pytestmark = pytest.mark.exact

NUMBERS = [name for name in COLUMNS if name.endswith(("Cost", "UnitPrice", "Quantity", "Hours"))]


def cluster(**fields: object) -> list[dict[str, str]]:
    rows = [
        pod(NOVEMBER_END - HOUR, NOVEMBER_END + HOUR, **fields),
        pod(NOVEMBER_END - HOUR, NOVEMBER_END, pod_uid="2", worker="1", phase="queue"),
    ]
    same = {key: value for key, value in fields.items() if key.endswith("_per_hour")}
    spot = bool(fields.get("spot", False))
    nodes = [node(NOVEMBER_END - HOUR, NOVEMBER_END + HOUR, spot=spot, **same)]
    shared = share_nodes(rows, nodes)
    days = [NOVEMBER_END - HOUR, NOVEMBER_END]
    windows = [(days[0], days[1]), (days[1], NOVEMBER_END + HOUR)]
    accounts = [
        (window[0], account)
        for window in windows
        for account in share_nodes(rows, nodes, window).accounts
    ]
    return list(focus_rows(shared.charges, accounts))


@given(st.lists(any_rows(), max_size=12), st.integers(1, 200))
def test_costs_add_up_to_the_charges_exactly(rows: list[Usage], stretch: int) -> None:
    step = stretch * HOUR
    far = [
        replace(
            one,
            start_microseconds=one.start_microseconds * step,
            end_microseconds=one.stop_microseconds * step + 1,
        )
        for one in rows
    ]
    charges = charge(merge(far))
    made = list(focus_rows(charges, []))
    billed = sum((Decimal(one["BilledCost"]) for one in made), Decimal(0))
    assert billed == sum((one.hardware_usd + one.software_usd for one in charges), Decimal(0))
    for one in made:
        assert tuple(one) == COLUMNS
        product = Decimal(one["ContractedUnitPrice"]) * Decimal(one["PricingQuantity"])
        assert abs(product - Decimal(one["ContractedCost"])) < Decimal("1e-10")
        for name in NUMBERS:
            assert re.fullmatch(r"\d+\.\d+", one[name]), (name, one[name])


def test_idle_and_overhead_have_rows_so_that_the_sum_is_the_invoice() -> None:
    made = cluster(software_usd_per_hour=0.05)
    billed = sum(Decimal(one["BilledCost"]) for one in made)
    assert billed == pytest.approx(2 * (Decimal("0.4") + Decimal("0.05")), abs=Decimal("1e-13"))
    kinds = {(one["ChargePeriodStart"][:10], one["x_Kind"], one["ServiceCategory"]) for one in made}
    categories = ("Compute", "AI and Machine Learning")
    assert kinds == {
        (day, kind, category)
        for day in ("2026-11-30", "2026-12-01")
        for kind in ("workload", "idle", "overhead")
        for category in categories
    }
    (idle, *_) = [one for one in made if one["x_Kind"] == "idle"]
    assert (idle["ResourceType"], idle["ResourceId"], idle["ResourceName"]) == (
        "Node",
        "node-1",
        "pool-a-1",
    )
    assert (idle["SubAccountId"], idle["SubAccountName"], idle["Tags"]) == ("", "", "")


def test_a_row_is_of_one_day_of_one_month_of_billing() -> None:
    made = [one for one in cluster() if one["x_Kind"] == "workload"]
    spans = [(one["ChargePeriodStart"], one["ChargePeriodEnd"]) for one in made]
    assert spans == [
        ("2026-11-30T00:00:00Z", "2026-12-01T00:00:00Z"),
        ("2026-12-01T00:00:00Z", "2026-12-02T00:00:00Z"),
    ]
    periods = [(one["BillingPeriodStart"], one["BillingPeriodEnd"]) for one in made]
    assert periods == [
        ("2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z"),
        ("2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"),
    ]


def test_a_row_says_whose_it_is_what_of_and_at_which_price() -> None:
    one, *_ = [one for one in cluster(spot=True) if one["x_Kind"] == "workload"]
    told = {
        "BillingCurrency": "USD",
        "ChargeCategory": "Usage",
        "ChargeClass": "",
        "ChargeFrequency": "Usage-Based",
        "ConsumedQuantity": "1.000000000000000",
        "ConsumedUnit": "Hours",
        "InvoiceIssuerName": "gke",
        "ListUnitPrice": "0.4",
        "PricingCategory": "Dynamic",
        "PricingUnit": "Hours",
        "ProviderName": "gke",
        "PublisherName": "gke",
        "RegionId": "europe-west4",
        "ResourceId": "team-a/run/train/0",
        "ResourceName": "cnn train 0",
        "ResourceType": "Worker",
        "ServiceSubcategory": "Virtual Machines",
        "SkuId": "gke/n1-standard-4",
        "SkuPriceId": "gke/n1-standard-4/europe-west4/spot/1/0.4",
        "SubAccountId": "team-a",
        "x_CpuCoreHours": "1.0",
        "x_MemoryGiBHours": "2.0",
        "x_Phase": "work",
    }
    assert {name: one[name] for name in told} == told
    assert json.loads(one["Tags"]) == {
        "tally.dev/run": "run",
        "tally.dev/pipeline": "cnn",
        "tally.dev/step": "train",
        "tally.dev/worker": "0",
        "tally.dev/team": "team-a",
    }


def test_workers_of_a_step_are_apart_and_lives_of_a_worker_together() -> None:
    rows = [
        row(0, HOUR, pod_uid="a"),
        row(2 * HOUR, 3 * HOUR, pod_uid="b", attempt=2),
        row(0, HOUR, pod_uid="c", worker="1"),
        row(3 * HOUR, 4 * HOUR, pod_uid="b", attempt=2, phase="restart"),
    ]
    made = list(focus_rows(charge(merge(rows)), []))
    assert [(one["ResourceId"], one["x_Phase"], one["ConsumedQuantity"][:3]) for one in made] == [
        ("local/run/train/0", "restart", "1.0"),
        ("local/run/train/0", "work", "2.0"),
        ("local/run/train/1", "work", "1.0"),
    ]


def test_pods_without_a_run_are_together_by_namespace() -> None:
    system = {"run_id": "", "pipeline": "", "step": "", "worker": "", "namespace": "kube-system"}
    rows = [pod(0, HOUR, pod_uid=n, **(system | {"worker": n, "step": n})) for n in "abc"]
    shared = share_nodes(rows, [node(0, HOUR)])
    (one,) = focus_rows(shared.charges, [])
    assert (one["ResourceId"], one["ResourceType"]) == ("kube-system/pods", "Pods")
    assert one["ConsumedQuantity"] == "3.000000000000000"


def test_less_than_the_list_price_is_told_as_both() -> None:
    (one,) = focus_rows(charge([row(0, HOUR, list_price_usd_per_hour=0.2)]), [])
    assert (one["BilledCost"], one["ListCost"]) == ("0.100000000000000", "0.200000000000000")
    assert (one["ContractedUnitPrice"], one["ListUnitPrice"]) == ("0.1", "0.2")
    (one,) = focus_rows(charge([row(0, HOUR)]), [])  # it was not kept
    assert (one["ListCost"], one["ListUnitPrice"]) == ("0.100000000000000", "0.1")


def test_a_nodes_list_price_is_in_what_was_idle_too() -> None:
    made = cluster(list_price_usd_per_hour=0.5, software_usd_per_hour=0.05)
    listed = {(one["ServiceCategory"], one["ListUnitPrice"]) for one in made}
    assert listed == {("Compute", "0.5"), ("AI and Machine Learning", "0.05")}
    whole = sum(Decimal(one["ListCost"]) for one in made if one["ServiceCategory"] == "Compute")
    assert whole == pytest.approx(2 * Decimal("0.5"), abs=Decimal("1e-12"))
