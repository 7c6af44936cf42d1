"""The plan of a run: what the plan step decided and what the conductor goes on from. Pure."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, TypeVar

from tally.errors import SpecError, check_schema

SCHEMA = 1
LOCAL = "local"  # the machine type of workers that are processes on this machine
Basis = Literal["measured", "extrapolated", "listed"]
_Read = TypeVar("_Read")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedStep:
    """Steps of one size as they were measured, for tally.scaling.stepfit.Observation."""

    workers: int
    nodes: int
    examples_per_worker: float
    accumulation: int
    step_seconds: float
    sync_seconds: float | None = None
    weight: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedOffer:
    """A machine type that the run's workers may be on.

    Attributes:
        machine_type: of the catalogue; "local" for processes here, "" for pods of one core and
            2 GiB each, wherever there is room.
        price_usd_per_hour: hardware of one machine, discounts taken off; on this machine of the
            whole machine however many workers it has.
        software_usd_per_hour: licences and surcharges.
        interruptions_per_hour: of a spot machine; 0 where it is none.
        spot: whether the price is a spot machine's.
        min_workers, max_workers: that it may have.
        basis: where its step times come from.
        step_time: coefficients by name, of tally.scaling.stepmodel.StepTime.
        observed: what they were fitted to; none where nothing was measured.
        node_selector: labels of its nodes.
        tolerations: of its nodes' taints, as Kubernetes writes them.
        accelerator, accelerator_count: resource name of a worker's accelerators, and how many.
    """

    machine_type: str
    price_usd_per_hour: float
    software_usd_per_hour: float = 0.0
    interruptions_per_hour: float = 0.0
    spot: bool = False
    min_workers: int
    max_workers: int
    basis: Basis
    step_time: Mapping[str, Any] = field(default_factory=dict)
    observed: tuple[PlannedStep, ...] = ()
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Mapping[str, Any], ...] = ()
    accelerator: str = ""
    accelerator_count: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Where and how big the run begins, and within which limits it may change.

    Attributes:
        machine_type, workers, batch_size: to begin with; machine_type as in PlannedOffer.
        min_workers, max_workers, largest_batch: never outside of these.
        adaptive_batch: whether the batch may grow.
        objective: what is minimised.
        value_of_hour_usd: what an hour waited costs.
        budget_usd: of the run over all its attempts; None for no limit.
        deadline_at_microseconds: UTC; None for none.
        low_usd, expected_usd, high_usd, low_seconds, expected_seconds, high_seconds: the quote.
        start_seconds: expected, of a worker until it trains.
        after_usd, after_seconds: expected, of what comes after training: evaluate, bill, the end.
        why: of the pick, one sentence.
        offers: machine types that it may be on; the first is the one to begin with.
    """

    machine_type: str
    workers: int
    batch_size: int
    min_workers: int
    max_workers: int
    largest_batch: int
    adaptive_batch: bool = False
    objective: Literal["balanced", "deadline", "budget"] = "balanced"
    value_of_hour_usd: float
    budget_usd: float | None = None
    deadline_at_microseconds: int | None = None
    low_usd: float
    expected_usd: float
    high_usd: float
    low_seconds: float
    expected_seconds: float
    high_seconds: float
    start_seconds: float
    after_usd: float = 0.0
    after_seconds: float = 0.0
    why: str = ""
    offers: tuple[PlannedOffer, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """As JSON's types, for `from_json`; the plan step's output `plan`."""
        found: dict[str, Any] = _plain({"schema": SCHEMA, **asdict(self)})
        return found

    @staticmethod
    def from_json(document: Mapping[str, Any]) -> "Plan":
        """Read what `as_json` made; names that are not known are passed over.

        Raises:
            SchemaError: a newer Tally made it.
            SpecError: it is no plan.
        """
        try:
            check_schema("the plan", int(document.get("schema", 0)), SCHEMA)
            offers = tuple(_offer(offer) for offer in document.get("offers", ()))
            return _read(Plan, {**document, "offers": offers})
        except (TypeError, ValueError, AttributeError) as error:
            raise SpecError(
                f"the plan: expected that of a plan step, got {error}; run all steps from the same "
                "Tally"
            ) from error


def _plain(value: Any) -> Any:
    """Lists for tuples, and nothing for None: Kubeflow's parameters have no word for it."""
    if isinstance(value, Mapping):
        return {name: _plain(held) for name, held in value.items() if held is not None}
    return [_plain(held) for held in value] if isinstance(value, list | tuple) else value


def _offer(document: Mapping[str, Any]) -> PlannedOffer:
    observed = tuple(_read(PlannedStep, one) for one in document.get("observed", ()))
    tolerations = tuple(_whole(one) for one in document.get("tolerations", ()))
    return _read(PlannedOffer, {**document, "observed": observed, "tolerations": tolerations})


def _whole(toleration: Mapping[str, Any]) -> dict[str, Any]:
    """Its seconds are whole: Kubernetes refuses others."""
    return {k: int(held) if isinstance(held, float) else held for k, held in toleration.items()}


def _read(kind: type[_Read], document: Mapping[str, Any]) -> _Read:
    """A dataclass of those names that it knows; Kubeflow makes every number a float."""
    given = {}
    for one in fields(kind):  # type: ignore[arg-type]
        if one.name in document:
            value = document[one.name]
            whole = one.type is int or one.type == int | None
            given[one.name] = int(value) if whole and value is not None else value
    return kind(**given)
