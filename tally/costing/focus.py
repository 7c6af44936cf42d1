"""The ledger as FOCUS 1.2, the FinOps Foundation's format of cost and usage: rows by column. Pure.

One row a day (UTC), run, step, worker, phase and price, and for the software of it another; one row
a day, node and kind for what was idle and for the system's reserve. Pods without a run are together
by namespace. What waits in a queue has no row: it costs nothing. BilledCost adds up to the charges
to the last digit.

Source: FinOps Open Cost and Usage Specification 1.2, dataset Cost and Usage.
"""

import datetime
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal

from tally.costing.allocation import MICROSECONDS_PER_HOUR, Charge
from tally.costing.days import DAY_MICROSECONDS, Kind, Sum, left_over, parts
from tally.costing.node_shares import NodeAccount
from tally.costing.nodes import Node
from tally.costing.usage import Usage

COLUMNS = (
    "BilledCost", "BillingAccountId", "BillingAccountName", "BillingCurrency", "BillingPeriodEnd",
    "BillingPeriodStart", "ChargeCategory", "ChargeClass", "ChargeDescription", "ChargeFrequency",
    "ChargePeriodEnd", "ChargePeriodStart", "ConsumedQuantity", "ConsumedUnit", "ContractedCost",
    "ContractedUnitPrice", "EffectiveCost", "InvoiceId", "InvoiceIssuerName", "ListCost",
    "ListUnitPrice", "PricingCategory", "PricingQuantity", "PricingUnit", "ProviderName",
    "PublisherName", "RegionId", "RegionName", "ResourceId", "ResourceName", "ResourceType",
    "ServiceCategory", "ServiceName", "ServiceSubcategory", "SkuId", "SkuMeter", "SkuPriceDetails",
    "SkuPriceId", "SubAccountId", "SubAccountName", "Tags", "x_AcceleratorHours", "x_CpuCoreHours",
    "x_Kind", "x_MemoryGiBHours", "x_Phase",
)  # fmt: skip
"""The header. Columns that begin with x_ are Tally's own."""

ACCOUNT = "tally"
ListPrices = Mapping[tuple[str, bool, str], float]
"""USD an hour of hardware before discount, by machine type, spot and catalogue's version."""

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
    software_usd_per_hour: float
    currency: str
    catalogue_version: str


@dataclass(frozen=True, slots=True)
class _Holder:
    """Whose row it is: a worker, a step, pods without a run, or of a node what nobody held."""

    kind: Kind
    resource_id: str
    resource_name: str
    resource_type: str
    namespace: str
    phase: str
    tags: tuple[tuple[str, str], ...]
    description: str


def focus_rows(
    charges: Iterable[Charge],
    accounts: Iterable[tuple[int, NodeAccount]],
    list_prices: ListPrices | None = None,
    account: str = ACCOUNT,
) -> Iterator[dict[str, str]]:
    """Rows of COLUMNS, sorted by day; null is "".

    Args:
        charges: of any length of time.
        accounts: each with the begin (microseconds UTC) of the day that it is of.
        list_prices: where less than the list price is paid.
        account: the billing account's id.
    """
    sums: dict[tuple[int, _Holder, _Machine], Sum] = {}
    for one in charges:
        if one.usage.phase != "queue":
            holder, machine = _holder(one.usage), _machine(one.usage)
            for piece in parts(one):
                key = piece.day_microseconds, holder, machine
                sums.setdefault(key, Sum()).add(piece)
    for moment, node_account in accounts:
        day = moment // DAY_MICROSECONDS * DAY_MICROSECONDS
        node = node_account.node
        for kind, rest in left_over(node_account).items():
            if rest.billed_microseconds:
                key = day, _nobody(node, kind), _machine(node)
                sums.setdefault(key, Sum()).include(rest)
    for day, holder, machine in sorted(sums, key=_order):
        whole = sums[day, holder, machine]
        common = _common(day, holder, machine, whole, account)
        yield common | _hardware(machine, whole, list_prices or {})
        if machine.software_usd_per_hour:
            yield common | _software(machine, whole)


def _order(key: tuple[int, _Holder, _Machine]) -> tuple[int, str, str, str, str]:
    day, holder, machine = key
    return day, holder.resource_id, holder.kind, holder.phase, repr(machine)


def _machine(of: Usage | Node) -> _Machine:
    return _Machine(
        of.machine_type,
        of.spot,
        of.provider or "unknown",
        of.region,
        of.price_usd_per_hour,
        of.software_usd_per_hour,
        of.currency,
        of.catalogue_version,
    )


def _holder(row: Usage) -> _Holder:
    names = {"run": row.run_id, "pipeline": row.pipeline, "step": row.step, "worker": row.worker}
    tags = {name: value for name, value in (*names.items(), ("team", row.team)) if value}
    if not row.run_id:
        where, title = f"{row.namespace}/pods", f"pods of {row.namespace} outside runs"
        kind, what = "Pods", title
    else:
        where = "/".join(filter(None, (row.namespace, row.run_id, row.step, row.worker)))
        title = " ".join(filter(None, (row.pipeline, row.step, row.worker)))
        kind = "Worker" if row.worker else "Step"
        what = f"{row.pipeline}, run {row.run_id}: {row.step} {row.worker}".rstrip()
    description = f"{what}, {row.phase}, on {row.machine_type}"
    return _Holder(
        "workload", where, title, kind, row.namespace, row.phase, tuple(tags.items()), description
    )


def _nobody(node: Node, kind: Kind) -> _Holder:
    meaning = {"idle": "held by nobody", "overhead": "the system's reserve"}[kind]
    name = "" if node.name == node.node_uid else node.name
    description = f"node {node.name} ({node.machine_type}), {kind}: {meaning}"
    return _Holder(kind, node.node_uid, name, "Node", "", "", (), description)


def _common(
    day: int, holder: _Holder, machine: _Machine, whole: Sum, account: str
) -> dict[str, str]:
    """What a row of hardware and a row of software have alike."""
    begin = datetime.datetime.fromtimestamp(day // 1_000_000, datetime.UTC)
    month = begin.replace(day=1)
    tags = {_TAG + name: value for name, value in holder.tags}
    workload = holder.kind == "workload"
    return dict.fromkeys(COLUMNS, "") | {
        "BillingAccountId": account,
        "BillingAccountName": account,
        "BillingCurrency": machine.currency,
        "BillingPeriodStart": _moment(month),
        "BillingPeriodEnd": _moment((month + datetime.timedelta(days=31)).replace(day=1)),
        "ChargeCategory": "Usage",
        "ChargeDescription": holder.description,
        "ChargeFrequency": "Usage-Based",
        "ChargePeriodStart": _moment(begin),
        "ChargePeriodEnd": _moment(begin + datetime.timedelta(days=1)),
        "ConsumedQuantity": _hours(whole.held_microseconds),
        "ConsumedUnit": "Hours",
        # a third party's charges would have to be billed as 0: issuer and provider are one
        "InvoiceIssuerName": machine.provider,
        "PricingCategory": "Dynamic" if machine.spot else "Standard",
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


def _hardware(machine: _Machine, whole: Sum, list_prices: ListPrices) -> dict[str, str]:
    paid = machine.hardware_usd_per_hour
    key = machine.machine_type, machine.spot, machine.catalogue_version
    listed = list_prices.get(key, paid)
    cost = whole.hardware_usd
    if listed != paid:
        hours = Decimal(whole.billed_microseconds) / MICROSECONDS_PER_HOUR
        listed_cost = hours * Decimal(str(listed))
    else:
        listed_cost = cost
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
    }


def _moment(when: datetime.datetime) -> str:
    return f"{when:%Y-%m-%dT%H:%M:%SZ}"


def _hours(microseconds: int) -> str:
    return _amount(Decimal(microseconds) / MICROSECONDS_PER_HOUR)


def _amount(amount: Decimal) -> str:
    """A decimal with a point and no exponent, so that a reader takes the column for decimals."""
    return f"{amount.quantize(_PLACES):f}"


def _plain(number: float) -> str:
    """The shortest decimal that is this number, with a point and no exponent."""
    text = f"{Decimal(str(number)):f}"
    return text if "." in text else f"{text}.0"
