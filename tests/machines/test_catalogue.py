"""The catalogue: a price comes from its file or from the user, never from nowhere."""

from pathlib import Path

import pytest

from tally.errors import SpecError
from tally.machines.catalogue import load, machine

GOOD = """
provider: acme
version: "1"
machine_types:
  big:
    list_price_usd_per_hour: 2.0
    software_usd_per_hour: 0.5
    discount_percent: 25
    value_of_hour_usd: 1.0
    source: https://example.com/prices
    date: 2026-11-23
"""


def test_the_local_machine_has_a_documented_price() -> None:
    local = machine("local")
    assert local.price_usd_per_hour == 0.1
    assert local.software_usd_per_hour == 0.0
    assert local.value_of_hour_usd == 1.0
    assert local.source
    assert local.version


def test_the_users_own_prices_override_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALLY_PRICE_PER_HOUR", "3.25")
    monkeypatch.setenv("TALLY_SOFTWARE_PRICE_PER_HOUR", "0.5")
    monkeypatch.setenv("TALLY_VALUE_OF_HOUR", "60")
    local = machine("local")
    prices = local.price_usd_per_hour, local.software_usd_per_hour, local.value_of_hour_usd
    assert prices == (3.25, 0.5, 60.0)


def test_a_variable_without_text_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALLY_PRICE_PER_HOUR", "")
    assert machine("local").price_usd_per_hour == 0.1


@pytest.mark.parametrize("text", ["-1", "nan", "inf", "1e99", "cheap", "0,10"])
@pytest.mark.parametrize(
    "name", ["TALLY_PRICE_PER_HOUR", "TALLY_SOFTWARE_PRICE_PER_HOUR", "TALLY_VALUE_OF_HOUR"]
)
def test_what_is_no_price_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str
) -> None:
    monkeypatch.setenv(name, text)
    with pytest.raises(SpecError) as caught:
        machine("local")
    message = str(caught.value)
    assert message.startswith(f"{name}: expected")
    assert text in message
    assert "\n" not in message


def test_adding_a_provider_is_adding_a_file(tmp_path: Path) -> None:
    (tmp_path / "acme.yaml").write_text(GOOD)
    big = load(tmp_path).machine("big")
    assert (big.provider, big.list_price_usd_per_hour, big.price_usd_per_hour) == ("acme", 2.0, 1.5)


@pytest.mark.parametrize(
    "key", ["list_price_usd_per_hour", "software_usd_per_hour", "discount_percent"]
)
@pytest.mark.parametrize("value", [None, "-1", ".nan", "much"])
def test_a_missing_or_bad_price_names_file_and_key(
    tmp_path: Path, key: str, value: str | None
) -> None:
    lines = [line for line in GOOD.splitlines() if key not in line]
    if value is not None:
        lines.append(f"    {key}: {value}")
    path = tmp_path / "acme.yaml"
    path.write_text("\n".join(lines))
    with pytest.raises(SpecError) as caught:
        load(tmp_path)
    message = str(caught.value)
    assert str(path) in message
    assert f"machine_types.big.{key}" in message
    assert "\n" not in message


@pytest.mark.parametrize("text", ["", "a: [", "provider: acme", "- 1"])
def test_a_file_that_is_no_catalogue_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "acme.yaml").write_text(text)
    with pytest.raises(SpecError, match=r"acme\.yaml: expected YAML"):
        load(tmp_path)


def test_an_unknown_machine_type_gets_the_nearest_name() -> None:
    with pytest.raises(SpecError, match="did you mean local"):
        machine("locla")
