"""From a node's labels to its price."""

from pathlib import Path

import pytest

from tally.errors import SpecError
from tally.machines.catalogue import load
from tally.machines.priced import Catalogue

PRICES = """
machine_types:
  plain:
    list_price_usd_per_hour: 2.0
    software_usd_per_hour: 0.5
    discount_percent: 25
    value_of_hour_usd: 1.0
    region: here
    source: this test
    date: 2026-11-23
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Catalogue:
    path = tmp_path / "prices.yaml"
    path.write_text(PRICES)
    monkeypatch.setenv("TALLY_MACHINES", str(path))
    return load()


def labels(name: str, **others: str) -> dict[str, str]:
    return {"node.kubernetes.io/instance-type": name, "kubernetes.io/hostname": "n1", **others}


def test_a_node_on_demand_has_its_list_price() -> None:
    node = load().of_node(labels("a2-highgpu-1g"))
    assert (node.machine_type, node.provider, node.spot) == ("a2-highgpu-1g", "gke", False)
    assert (node.price_usd_per_hour, node.software_usd_per_hour) == (3.673385, 0.0)
    assert (node.currency, node.catalogue_version) == ("USD", "2026-11")


@pytest.mark.parametrize(
    ("label", "value"),
    [
        ("cloud.google.com/gke-spot", "true"),
        ("cloud.google.com/gke-preemptible", "true"),
        ("karpenter.sh/capacity-type", "spot"),
        ("kubernetes.azure.com/scalesetpriority", "spot"),
        ("eks.amazonaws.com/capacityType", "SPOT"),
    ],
)
def test_a_spot_node_has_the_spot_price(label: str, value: str) -> None:
    node = load().of_node(labels("a2-highgpu-1g") | {label: value})
    assert node.spot
    assert node.price_usd_per_hour == node.list_price_usd_per_hour == 1.80385


@pytest.mark.parametrize(
    ("label", "value"),
    [
        ("cloud.google.com/gke-spot", "false"),
        ("karpenter.sh/capacity-type", "on-demand"),
        ("eks.amazonaws.com/capacityType", "ON_DEMAND"),
    ],
)
def test_a_label_that_says_no_is_no_spot(label: str, value: str) -> None:
    assert not load().of_node(labels("a2-highgpu-1g") | {label: value}).spot


def test_the_users_own_label_goes_before_the_providers(own: Catalogue) -> None:
    node = own.of_node(labels("n2-standard-4") | {"tally.dev/machine-type": "plain"})
    assert (node.machine_type, node.provider) == ("plain", "own")
    assert (node.price_usd_per_hour, node.software_usd_per_hour) == (1.5, 0.5)
    assert node.list_price_usd_per_hour == 2.0


def test_a_node_elsewhere_tells_whose_price_it_has() -> None:
    node = load().of_node(
        labels("n2-standard-4") | {"topology.kubernetes.io/region": "europe-west4"}
    )
    assert (node.region, node.price_region) == ("europe-west4", "us-central1")
    assert node.price_usd_per_hour == 0.194236


def test_a_node_without_a_region_is_where_its_price_is() -> None:
    node = load().of_node(labels("n2-standard-4"))
    assert (node.region, node.price_region) == ("us-central1", "us-central1")


def test_a_spot_node_without_a_spot_price_is_never_billed_on_demand(own: Catalogue) -> None:
    with pytest.raises(SpecError) as caught:
        own.of_node(labels("plain") | {"cloud.google.com/gke-spot": "true"})
    message = str(caught.value)
    assert own.machine("plain").file in message
    assert "machine_types.plain.spot_price_usd_per_hour" in message
    assert "\n" not in message


def test_an_unknown_machine_type_tells_the_nearest_name_file_and_key(own: Catalogue) -> None:
    with pytest.raises(SpecError) as caught:
        own.of_node(labels("n2-standard-3"))
    message = str(caught.value)
    assert "did you mean n2-standard-" in message
    assert "add machine_types.n2-standard-3 to" in message
    assert own.machine("plain").file in message
    assert "\n" not in message


def test_a_node_of_no_machine_type_is_named() -> None:
    with pytest.raises(SpecError, match=r"node n1: expected the label node\.kubernetes\.io"):
        load().of_node({"kubernetes.io/hostname": "n1"})
