"""The ledger as FOCUS 1.2, the FinOps Foundation's format of cost and usage: rows by column. Pure.

One row a day (UTC), run, step, worker, phase and price, and for the software of it another; one row
a day, node and kind for what was idle and for the system's reserve. Pods without a run are together
by namespace. What waits in a queue has no row: it costs nothing. BilledCost adds up to the charges
to the last digit.

Source: FinOps Open Cost and Usage Specification 1.2, dataset Cost and Usage.
"""

import datetime
import functools
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal

from tally.costing.allocation import MICROSECONDS_PER_HOUR, Charge, usd
from tally.costing.days import DAY_MICROSECONDS, Sum, left_over, parts
from tally.costing.focus_holders import Holder, holder_of, left_of
from tally.costing.node_shares import NodeAccount
from tally.costing.nodes import Node
from tally.costing.usage import Usage

COLUMNS = (
    "BilledCost", "BillingAccountId", "BillingAccountName", "BillingCurrency",
    "BillingPeriodEnd", "BillingPeriodStart", "ChargeCategory", "ChargeClass",
    "ChargeDescription", "ChargeFrequency", "ChargePeriodEnd", "ChargePeriodStart",
    "CommitmentDiscountStatus", "ConsumedQuantity", "ConsumedUnit", "ContractedCost",
    "ContractedUnitPrice", "EffectiveCost", "InvoiceId", "InvoiceIssuerName", "ListCost",
    "ListUnitPrice", "PricingCategory", "PricingCurrency", "PricingCurrencyContractedUnitPrice",
    "PricingCurrencyEffectiveCost", "PricingCurrencyListUnitPrice", "PricingQuantity",
    "PricingUnit", "ProviderName", "PublisherName", "RegionId", "RegionName", "ResourceId",
    "ResourceName", "ResourceType", "ServiceCategory", "ServiceName", "ServiceSubcategory",
    "SkuId", "SkuMeter", "SkuPriceDetails", "SkuPriceId", "SubAccountId", "SubAccountName",
    "Tags", "x_AcceleratorHours", "x_CpuCoreHours", "x_Kind", "x_MemoryGiBHours", "x_Phase",
)  # fmt: skip
"""The header. Columns that begin with x_ are Tally's own."""

ACCOUNT = "tally"

_TAG = "tally.dev/"
_PLACES = Decimal(1).scaleb(-15)


@dataclass(frozen=True, slots=True)
class _Machine:
    """What a price is of."""

    machine_type: str
    spot: bool
    provider: str
    region: str
    hardware_usd_per_hour: float
    list_usd_per_hour: float
    software_usd_per_hour: float
    currency: str
    catalogue_version: str


def focus_rows(
    charges: Iterable[Charge],
    accounts: Iterable[tuple[int, NodeAccount]],
    account: str = ACCOUNT,
) -> Iterator[dict[str, str]]:
    """Rows of COLUMNS, sorted by day; null is "".

    Args:
        charges: of any length of time.
        accounts: each with the begin (microseconds UTC) of the day that it is of.
        account: the billing account's id.
    """
    sums: dict[tuple[int, Holder, _Machine], Sum] = {}
    for one in charges:
        if one.usage.phase != "queue":
            holder, machine = holder_of(one.usage), _machine(one.usage)
            for piece in parts(one):
                key = piece.day_microseconds, holder, machine
                sums.setdefault(key, Sum()).add(piece)
    for moment, node_account in accounts:
        day = moment // DAY_MICROSECONDS * DAY_MICROSECONDS
        node = node_account.node
        for kind, rest in left_over(node_account).items():
            if rest.billed_microseconds:
                key = day, left_of(node, kind), _machine(node)
                sums.setdefault(key, Sum()).include(rest)
    for day, holder, machine in sorted(sums, key=_order):
        whole = sums[day, holder, machine]
        common = _common(day, holder, machine, whole, account)
        yield common | _hardware(machine, whole)
        if machine.software_usd_per_hour:
            yield common | _software(machine, whole)


def _order(key: tuple[int, Holder, _Machine]) -> tuple[int, str, str, str, str]:
    day, holder, machine = key
    return day, holder.resource_id, holder.kind, holder.phase, repr(machine)


def _machine(of: Usage | Node) -> _Machine:
    return _Machine(
        of.machine_type,
        of.spot,
        of.provider or "unknown",
        of.region,
        of.price_usd_per_hour,
        # which must not be null (FOCUS): what is paid stands in for one that was not kept
        of.price_usd_per_hour if of.list_price_usd_per_hour is None else of.list_price_usd_per_hour,
        of.software_usd_per_hour,
        of.currency,
        of.catalogue_version,
    )


def _common(
    day: int, holder: Holder, machine: _Machine, whole: Sum, account: str
) -> dict[str, str]:
    """What a row of hardware and a row of software have alike."""
    tags = {_TAG + name: value for name, value in holder.tags}
    workload = holder.kind == "workload"
    return (
        dict.fromkeys(COLUMNS, "")
        | _periods(day)
        | {
            "BillingAccountId": account,
            "BillingAccountName": account,
            "BillingCurrency": machine.currency,
            "ChargeCategory": "Usage",
            "ChargeDescription": holder.description,
            "ChargeFrequency": "Usage-Based",
            "ConsumedQuantity": _hours(whole.held_microseconds),
            "ConsumedUnit": "Hours",
            # a third party's charges would have to be billed as 0: issuer and provider are one
            "InvoiceIssuerName": machine.provider,
            "PricingCategory": "Dynamic" if machine.spot else "Standard",
            "PricingCurrency": machine.currency,
            "PricingQuantity": _hours(whole.billed_microseconds),
            "PricingUnit": "Hours",
            "ProviderName": machine.provider,
            "PublisherName": machine.provider,
            "RegionId": machine.region,
            "RegionName": machine.region,
            "ResourceId": holder.resource_id,
            "ResourceName": holder.resource_name,
            "ResourceType": holder.resource_type,
            "SubAccountId": holder.namespace,
            "SubAccountName": holder.namespace,
            "Tags": json.dumps(tags, ensure_ascii=False) if tags else "",
            "x_AcceleratorHours": _plain(whole.accelerator_hours) if workload else "",
            "x_CpuCoreHours": _plain(whole.cpu_core_hours) if workload else "",
            "x_Kind": holder.kind,
            "x_MemoryGiBHours": _plain(whole.memory_gib_hours) if workload else "",
            "x_Phase": holder.phase,
        }
    )


def _hardware(machine: _Machine, whole: Sum) -> dict[str, str]:
    paid, listed = machine.hardware_usd_per_hour, machine.list_usd_per_hour
    cost = whole.hardware_usd
    listed_cost = cost if listed == paid else usd(whole.billed_microseconds, listed)
    return {
        "ServiceCategory": "Compute",
        "ServiceName": "Machines",
        "ServiceSubcategory": "Virtual Machines",
        **_sku(machine, machine.machine_type, "Machine time", listed),
        **_costs(cost, paid, listed_cost, listed),
    }


def _software(machine: _Machine, whole: Sum) -> dict[str, str]:
    price, cost = machine.software_usd_per_hour, whole.software_usd
    return {
        "ServiceCategory": "AI and Machine Learning",
        "ServiceName": "Licences and surcharges",
        "ServiceSubcategory": "AI Platforms",
        **_sku(machine, f"{machine.machine_type}/software", "Licensed machine time", price),
        **_costs(cost, price, cost, price),
    }


def _sku(machine: _Machine, name: str, meter: str, unit_price: float) -> dict[str, str]:
    """A SKU is a machine type of a provider; its price is also by region, spot and catalogue."""
    sku = f"{machine.provider}/{name}"
    market = "spot" if machine.spot else "on-demand"
    where = machine.region or "any"
    details = {
        "InstanceType": machine.machine_type,
        "x_CatalogueVersion": machine.catalogue_version,
    }
    return {
        "SkuId": sku,
        "SkuMeter": meter,
        "SkuPriceDetails": json.dumps(details, ensure_ascii=False),
        "SkuPriceId": f"{sku}/{where}/{market}/{machine.catalogue_version}/{_plain(unit_price)}",
    }


def _costs(cost: Decimal, price: float, listed_cost: Decimal, listed: float) -> dict[str, str]:
    return {
        "BilledCost": _amount(cost),
        "ContractedCost": _amount(cost),
        "ContractedUnitPrice": _plain(price),
        "EffectiveCost": _amount(cost),
        "ListCost": _amount(listed_cost),
        "ListUnitPrice": _plain(listed),
        "PricingCurrencyContractedUnitPrice": _plain(price),
        "PricingCurrencyEffectiveCost": _amount(cost),
        "PricingCurrencyListUnitPrice": _plain(listed),
    }


@functools.lru_cache(maxsize=64)
def _periods(day: int) -> dict[str, str]:
    """The day, and the month that it is billed with; ends are not in them."""
    begin = datetime.datetime.fromtimestamp(day // 1_000_000, datetime.UTC)
    month = begin.replace(day=1)
    moments = {
        "BillingPeriodStart": month,
        "BillingPeriodEnd": (month + datetime.timedelta(days=31)).replace(day=1),
        "ChargePeriodStart": begin,
        "ChargePeriodEnd": begin + datetime.timedelta(days=1),
    }
    return {name: f"{moment:%Y-%m-%dT%H:%M:%SZ}" for name, moment in moments.items()}


def _hours(microseconds: int) -> str:
    return _amount(Decimal(microseconds) / MICROSECONDS_PER_HOUR)


def _amount(amount: Decimal) -> str:
    """A decimal with a point and no exponent, so that a reader takes the column for decimals."""
    return f"{amount.quantize(_PLACES):f}"


def _plain(number: float) -> str:
    """The shortest decimal that is this number, with a point and no exponent."""
    text = f"{Decimal(str(number)):f}"
    return text if "." in text else f"{text}.0"
