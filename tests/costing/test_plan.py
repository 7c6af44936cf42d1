"""A plan travels as JSON from the plan step to the conductor."""

import json

import pytest

from tally.costing.plan import Plan, PlannedOffer, PlannedStep
from tally.errors import SchemaError, SpecError
from tally.spec import Spec
from tally.steps.train import planned

OFFER = PlannedOffer(
    machine_type="g2-standard-4",
    price_usd_per_hour=0.7,
    min_workers=1,
    max_workers=4,
    basis="measured",
    step_time={"grad_base_seconds": 0.001},
    observed=(
        PlannedStep(
            workers=2, nodes=2, examples_per_worker=16.0, accumulation=1, step_seconds=0.01
        ),
    ),
    node_selector={"cloud.google.com/gke-accelerator": "nvidia-l4"},
    tolerations=({"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"},),
    accelerator="nvidia.com/gpu",
    accelerator_count=1,
)
PLAN = Plan(
    machine_type="g2-standard-4", workers=2, batch_size=32, min_workers=1, max_workers=4,
    largest_batch=32, value_of_hour_usd=1.0, budget_usd=5.0, low_usd=1.0, expected_usd=1.2,
    high_usd=1.5, low_seconds=60.0, expected_seconds=70.0, high_seconds=90.0, start_seconds=4.0,
    offers=(OFFER,),
)  # fmt: skip


def test_what_was_written_is_what_is_read() -> None:
    assert Plan.from_json(json.loads(json.dumps(PLAN.as_json()))) == PLAN


def test_kubeflows_parameters_have_neither_none_nor_whole_numbers() -> None:
    from google.protobuf import json_format, struct_pb2

    sent = json_format.ParseDict(PLAN.as_json(), struct_pb2.Struct())
    came = Plan.from_json(json_format.MessageToDict(sent))
    assert came == PLAN
    assert isinstance(came.workers, int) and isinstance(came.offers[0].observed[0].nodes, int)
    assert "None" not in str(PLAN.as_json())


def test_names_of_a_later_tally_of_the_same_schema_are_passed_over() -> None:
    assert Plan.from_json({**PLAN.as_json(), "colour": "red"}) == PLAN


def test_what_is_no_plan_is_refused_in_one_line() -> None:
    with pytest.raises(SpecError, match="the plan: expected that of a plan step"):
        Plan.from_json({"schema": 1, "workers": 2})


def test_a_newer_plan_is_refused_with_both_versions() -> None:
    with pytest.raises(SchemaError, match=r"1.*99"):
        Plan.from_json({**PLAN.as_json(), "schema": 99})


def test_training_begins_with_the_planned_size_and_machine_type() -> None:
    begun = planned(Spec(workers=1, max_workers=4, min_workers=1), PLAN)
    assert (begun.workers, begun.most_workers, begun.machine_type) == (2, 4, "g2-standard-4")
    assert begun.fewest_workers == 1


def test_a_plan_for_this_machine_names_no_machine_type_to_the_gang() -> None:
    from dataclasses import replace

    assert planned(Spec(), replace(PLAN, machine_type="local")).machine_type == ""
