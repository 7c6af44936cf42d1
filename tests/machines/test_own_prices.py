"""The user's own prices, in one YAML: what it adds, what it replaces, what it says to a mistake."""

import os
import re
from pathlib import Path

import pytest

from tally.errors import SpecError
from tally.machines.catalogue import load, machine

NEW = """
  big:
    list_price_usd_per_hour: 2.0
    software_usd_per_hour: 0.5
    discount_percent: 25
    value_of_hour_usd: 1.0
    source: https://example.com/prices
    date: 2026-11-23
"""


class Own:
    """A price file that TALLY_MACHINES names."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, text: str) -> None:
        self.path.write_text(text, encoding="utf-8")

    def refused(self) -> str:
        """What is said to it: one line that names the file."""
        with pytest.raises(SpecError) as caught:
            load()
        message = str(caught.value)
        assert str(self.path) in message
        assert "\n" not in message
        return message


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Own:
    path = tmp_path / "prices.yaml"
    monkeypatch.setenv("TALLY_MACHINES", str(path))
    return Own(path)


def test_a_new_machine_type_needs_nothing_else_in_the_file(own: Own) -> None:
    own.write(f"machine_types:{NEW}")
    big = machine("big")
    assert (big.provider, big.price_usd_per_hour) == ("own", 1.5)
    assert re.fullmatch("own-[0-9a-f]{8}", big.version)
    assert machine("n2-standard-4").provider == "gke"


def test_an_entry_of_a_known_type_replaces_just_its_keys(own: Own) -> None:
    own.write("version: july\nmachine_types:\n  n2-standard-4: {discount_percent: 50}\n")
    changed = machine("n2-standard-4")
    assert changed.price_usd_per_hour == 0.097118
    assert changed.spot_price_usd_per_hour == 0.054304
    assert (changed.provider, changed.version) == ("gke", "2026-11+july")
    assert changed.kubernetes
    assert machine("n2-standard-8").version == "2026-11"


def test_a_discount_leaves_spot_alone(own: Own) -> None:
    own.write("machine_types: {n2-standard-4: {discount_percent: 100}}")
    priced = load().priced("n2-standard-4", spot=True)
    assert priced.price_usd_per_hour == 0.054304


def test_the_files_defaults_are_for_its_own_new_types_only(own: Own) -> None:
    own.write(f"defaults: {{region: mine}}\nmachine_types:\n  g2-standard-4: {{}}{NEW}")
    assert machine("big").region == "mine"
    assert machine("g2-standard-4").region == "us-central1"


def test_a_folder_of_files_is_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.yaml").write_text(f"machine_types:{NEW}")
    (tmp_path / "b.yaml").write_text("machine_types: {e2-standard-2: {discount_percent: 10}}")
    monkeypatch.setenv("TALLY_MACHINES", str(tmp_path))
    assert machine("big").provider == "own"
    assert machine("e2-standard-2").discount_percent == 10


def test_a_file_that_changes_is_read_again(own: Own) -> None:
    own.write("machine_types: {e2-standard-2: {discount_percent: 10}}")
    first = machine("e2-standard-2")
    own.write("machine_types: {e2-standard-2: {discount_percent: 20}}")
    os.utime(own.path, ns=(1, 1))  # as an editor's save: same size, another time
    assert (first.discount_percent, machine("e2-standard-2").discount_percent) == (10, 20)


def test_what_does_not_change_is_read_once(own: Own) -> None:
    own.write(f"machine_types:{NEW}")
    assert load() is load()


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (
            "machine_types: {n2-standard-4: {list_price_usd_per_hour: -1}}",
            ["machine_types.n2-standard-4.list_price_usd_per_hour", "got -1"],
        ),
        (
            "machine_types: {n2-standard-4: {spot_price_usd_per_hour: -0.1}}",
            ["machine_types.n2-standard-4.spot_price_usd_per_hour", "got -0.1"],
        ),
        (
            "machine_types: {n2-standard-4: {currency: EUR}}",
            ["machine_types.n2-standard-4.currency", "'USD'", "got 'EUR'"],
        ),
        (
            f"defaults: {{currency: EUR}}\nmachine_types:{NEW}",
            ["defaults.currency", "'USD'", "got 'EUR'"],
        ),
        (
            "machine_types:" + NEW.replace("    software_usd_per_hour: 0.5\n", ""),
            ["machine_types.big.software_usd_per_hour", "got nothing"],
        ),
        (
            "machine_types: {big: {discount_percent: 5}}",
            ["machine_types.big.list_price", "nothing"],
        ),
        ("machine_types: {local: {price: 5}}", ["machine_types.local.price", "not permitted"]),
        ("machine_types: {local: 5}", ["expected YAML"]),
        ("machine_types: [big]", ["expected YAML"]),
        ("prices: {}", ["expected YAML", "machine_types"]),
        ("machine_types: {a: [", ["expected YAML"]),
        ("currency: EUR\nmachine_types: {}", ["at the top, got currency", "below defaults"]),
        ("machine_types: {local: {version: x}}", ["expected no machine_types.local.version"]),
        (
            "machine_types:\n  local: {discount_percent: 1}\n  local: {discount_percent: 2}\n",
            ["local twice, again in line 3"],
        ),
        (
            "machine_types: {n2-standard-4: {accelerator: nvidia-l4}}",
            ["machine_types.n2-standard-4", "accelerator and accelerator_count together"],
        ),
        (
            "machine_types: {local: {weights: {cpu_usd_per_core_hour: 0}}}",
            ["machine_types.local.weights.cpu_usd_per_core_hour", "got 0"],
        ),
    ],
)
def test_a_mistake_is_one_line_with_file_and_key(own: Own, text: str, parts: list[str]) -> None:
    own.write(text)
    message = own.refused()
    for part in parts:
        assert part in message


def test_a_mistake_of_the_users_file_is_not_laid_on_the_providers(own: Own) -> None:
    own.write("machine_types: {n2-standard-4: {list_price_usd_per_hour: much}}")
    assert "gke.yaml" not in own.refused()


def test_a_file_that_is_no_text_is_named(own: Own) -> None:
    own.path.write_bytes(b"\xff\xfe\x00")
    assert "expected YAML" in own.refused()


def test_a_file_that_is_not_there_is_named(own: Own) -> None:
    message = own.refused()
    assert message.startswith("TALLY_MACHINES: expected a YAML file or a folder")


def test_two_files_with_the_same_name_are_both_named(tmp_path: Path) -> None:
    for name in ("acme", "zenith"):
        text = f"provider: {name}\nversion: '1'\nmachine_types:{NEW}"
        (tmp_path / f"{name}.yaml").write_text(text)
    with pytest.raises(SpecError) as caught:
        load(tmp_path)
    message = str(caught.value)
    assert "acme.yaml" in message
    assert "zenith.yaml: expected machine_types.big in one file" in message
    assert "\n" not in message
