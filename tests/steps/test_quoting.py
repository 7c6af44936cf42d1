"""Quotes from a real ledger and a real dataset: measured, extrapolated, listed, left out."""

from dataclasses import replace
from typing import Any

import pytest

from helpers.learning.made_training import pictures
from tally import clock
from tally.costing.ledger import Ledger, open_ledger
from tally.costing.pace import pace
from tally.costing.plan import Plan
from tally.costing.profile import Profile
from tally.costing.quotation import Quotation
from tally.costing.runs import RunRecord
from tally.costing.usage import Usage
from tally.data.format import Dataset, open_dataset
from tally.errors import SpecError
from tally.kube.template import pod_spec, worker_template
from tally.machines.catalogue import load
from tally.models import memory
from tally.spec import Spec, validate
from tally.steps import past, profiles, quoting, quoting_cluster, sizes
from tally.steps.asked import Asked
from tally.steps.profiles import Training

SECOND = 1_000_000


@pytest.fixture
def ledger() -> Any:
    with open_ledger() as opened:
        yield opened


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return open_dataset(pictures(tmp_path_factory.mktemp("data") / "shapes"))


def asked(dataset: Dataset, begun: float | None = None, **settings: object) -> Asked:
    return Asked(
        pipeline="cnn", spec=validate("here", settings), dataset=dataset, value_of_hour_usd=1.0,
        created_at_microseconds=clock.now_microseconds(), begun=begun,
    )  # fmt: skip


def measured(
    ledger: Ledger, dataset: Dataset, count: int, seconds: float, **settings: object
) -> None:
    spec = validate("here", settings)
    training = Training(spec=spec, dataset=dataset, gang=profiles.is_gang(spec) or count > 1)
    one = Profile(
        profile_id=f"{training.key}-{count}", key=training.key, machine_type="local",
        workers=count, made_at_microseconds=1, source="profile", step_seconds=seconds,
        spread=0.02, document={"start_seconds": 4.0},
    )  # fmt: skip
    ledger.put_profiles([one])


def quote(ledger: Ledger, of: Asked) -> Quotation:
    return quoting.here(ledger, load(), of)


def sized(found: Quotation, workers: int, machine_type: str = "local") -> Any:
    return next(
        row
        for row in found.rows
        if (row.candidate.workers, row.candidate.machine_type) == (workers, machine_type)
    )


def test_a_size_is_measured_extrapolated_or_listed(ledger: Ledger, dataset: Dataset) -> None:
    before = quote(ledger, asked(dataset))
    assert sized(before, 1).candidate.basis == "listed"
    for row in before.rows:
        if row.candidate.basis == "listed":
            assert row.seconds.low <= 0.7 * row.seconds.expected <= 0.7 / 1.3 * row.seconds.high
            assert row.usd.half_width >= 0.3 * 0.999
    measured(ledger, dataset, 1, 0.5)
    found = quote(ledger, asked(dataset))
    assert sized(found, 1).candidate.basis == "measured"
    assert sized(found, 1).candidate.step.expected == pytest.approx(0.5)
    assert sized(found, 2).candidate.basis == "extrapolated"
    assert sized(found, 1, "g2-standard-4").candidate.basis == "listed"
    trained = 5 * 1003 / 32 * 0.5
    assert found.picked.seconds.expected == pytest.approx(trained + 4 + 10, abs=5)


def test_other_batches_models_and_kinds_of_workers_are_not_this_ones(
    ledger: Ledger, dataset: Dataset
) -> None:
    measured(ledger, dataset, 1, 0.5)
    for changed in ({"batch_size": 64}, {"model": "lstm"}, {"max_workers": 2}):
        assert sized(quote(ledger, asked(dataset, **changed)), 1).candidate.basis == "listed"
    assert sized(quote(ledger, asked(dataset, epochs=9, seed=4)), 1).candidate.basis == "measured"


def test_the_objective_chooses_among_the_sizes_that_the_run_may_have(
    ledger: Ledger, dataset: Dataset
) -> None:
    spec: dict[str, object] = {"workers": 1, "min_workers": 1, "max_workers": 2, "epochs": 50}
    for workers, seconds in ((1, 0.5), (2, 0.3)):
        measured(ledger, dataset, workers, seconds, **spec)
    found = quote(ledger, asked(dataset, **spec))
    assert found.picked.candidate.workers == found.plan.workers == 2
    assert {row.candidate.workers for row in found.rows if row.candidate.allowed} == {1, 2}
    fixed = quote(ledger, asked(dataset, epochs=50))
    assert fixed.picked.candidate.workers == 1


def test_memory_that_would_not_fit_is_left_out_with_the_reason(
    ledger: Ledger, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    gigantic = quote(ledger, asked(dataset, batch_size=200_000))
    excluded = [row for row in gigantic.rows if row.candidate.excluded]
    assert any(row.candidate.machine_type == "e2-standard-2" for row in excluded)
    assert all("GiB of memory" in row.candidate.excluded for row in excluded)
    monkeypatch.setattr(memory, "FRAMEWORK_BYTES", 2**50)
    with pytest.raises(SpecError, match=r"needs .* GiB of memory.*smaller batch_size"):
        quote(ledger, asked(dataset))


def test_the_questions_that_people_ask_are_answered(ledger: Ledger, dataset: Dataset) -> None:
    measured(ledger, dataset, 1, 0.5)
    found = quote(ledger, asked(dataset))
    by_name = {one.name: one for one in found.what_ifs}
    expected = found.picked.seconds.expected
    assert by_name["half the data"].seconds.expected < expected
    assert by_name["double the data"].seconds.expected > 1.5 * expected
    assert by_name["a model of half the size"].usd.expected < found.picked.usd.expected
    assert by_name["SGD instead of Adam"].usd.expected < found.picked.usd.expected
    assert sum(name.startswith("other hardware") for name in by_name) == 2


def test_a_run_that_is_over_tells_the_next_quote_all_of_its_parts(
    ledger: Ledger, dataset: Dataset
) -> None:
    lasted = {"submit": 3.0, "prepare": 1.0, "plan": 2.0, "train": 20.0, "evaluate": 5.0,
              "bill": 1.0}  # fmt: skip
    finished(ledger, dataset, "run-1", lasted, train_seconds=14.0)
    (one,) = past.past_runs(ledger, "cnn")
    assert one.seconds == pytest.approx({**lasted, "train": 6.0})
    found = quote(ledger, asked(dataset, begun=1.5))
    trained = 5 * 1003 / 32 * (14.0 / (5 * 1003) * 32)
    assert found.picked.seconds.expected == pytest.approx(1.5 + 3 + 1 + 2 + 6 + trained + 5 + 1)
    ledger.put_quote(found.of_run("run-1", 1, None))
    (score,) = past.scores(ledger)
    assert score.billed_seconds == pytest.approx(sum(lasted.values()))
    assert score.quoted_seconds == pytest.approx(found.picked.seconds.expected)


def test_a_run_on_a_shared_machine_tells_nothing(ledger: Ledger, dataset: Dataset) -> None:
    finished(ledger, dataset, "run-1", {"train": 20.0}, train_seconds=14.0)
    finished(ledger, dataset, "run-2", {"train": 20.0}, train_seconds=14.0)
    assert past.past_runs(ledger, "cnn") == []


def finished(
    ledger: Ledger, dataset: Dataset, run_id: str, lasted: dict[str, float], train_seconds: float
) -> None:
    """A run in the ledger whose steps followed one another."""
    ledger.put_run(
        RunRecord(
            id=run_id, pipeline="cnn", state="succeeded", created_at_microseconds=0,
            value_of_hour_usd=1.0, examples_trained=5 * 1003,
        )
    )  # fmt: skip
    now, rows = 0, []
    for step, seconds in lasted.items():
        end = now + round(seconds * SECOND)
        rows.append(
            Usage(
                run_id=run_id, pipeline="cnn", step=step, pod_uid=f"{run_id}-{step}",
                node_uid="machine", container="step", start_microseconds=now,
                end_microseconds=end, heartbeat_at_microseconds=end, phase="work",
                cpu_request_cores=2.0, price_usd_per_hour=0.1, catalogue_version="1",
            )
        )  # fmt: skip
        now = end
    ledger.write_usage(rows)
    training = Training(spec=Spec(), dataset=dataset, gang=False)
    ledger.put_profiles(
        [
            profiles.of_run(
                training, run_id=run_id, pipeline="cnn", workers=1, seconds=train_seconds,
                examples=5 * 1003,
            )
        ]
    )  # fmt: skip


CLUSTER = "n2-standard-4"


def test_on_a_cluster_the_planned_machine_type_brings_its_nodes_with_it(dataset: Dataset) -> None:
    found = quoting_cluster.there(load(), asked(dataset, machine_type="g2-standard-4"), {})
    assert found.picked.candidate.machine_type == "g2-standard-4"
    (offer,) = Plan.from_json(found.plan.as_json()).offers
    pod = pod_spec(
        worker_template(load().machine("g2-standard-4"), "image"),
        secret="s", subdomain="d", coordinator="c:1", prefix="",
    )  # fmt: skip
    assert offer.node_selector == pod["nodeSelector"] and "nvidia-l4" in str(pod["nodeSelector"])
    assert list(offer.tolerations) == pod["tolerations"]
    assert (offer.accelerator, offer.accelerator_count) == ("nvidia.com/gpu", 1)
    assert {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"} in list(
        offer.tolerations
    )
    tpu = quoting_cluster.there(load(), asked(dataset, machine_type="ct5lp-hightpu-4t"), {})
    assert tpu.plan.offers[0].accelerator == "google.com/tpu"


def test_on_a_cluster_without_a_machine_type_pods_go_wherever_there_is_room(
    dataset: Dataset,
) -> None:
    found = quoting_cluster.there(load(), asked(dataset), {})
    assert found.plan.machine_type == "" and found.picked.candidate.basis == "listed"
    free = quoting_cluster.there(load(), asked(dataset, allow_listed=True, epochs=5000), {})
    assert free.plan.machine_type != ""


def test_on_a_cluster_a_machine_type_that_was_measured_is_taken_over_one_that_was_not(
    dataset: Dataset,
) -> None:
    profile = Profile(
        profile_id="p", key="", machine_type=CLUSTER, workers=1, made_at_microseconds=1,
        source="run", step_seconds=0.02, spread=0.0,
    )  # fmt: skip
    found = quoting_cluster.there(load(), asked(dataset), {CLUSTER: {1: pace([profile])}})
    assert found.plan.machine_type == CLUSTER
    assert found.picked.candidate.basis == "measured"


def test_a_machine_type_that_the_catalogue_lacks_is_refused_with_the_nearest(
    dataset: Dataset,
) -> None:
    with pytest.raises(SpecError, match=r"got g2-standart-4; did you mean g2-standard-4\?"):
        quoting_cluster.there(load(), asked(dataset, machine_type="g2-standart-4"), {})
    with pytest.raises(SpecError, match="kubernetes"):
        quoting_cluster.there(load(), asked(dataset, machine_type="local"), {})


def test_more_workers_than_cores_are_not_thought_to_be_faster(dataset: Dataset) -> None:
    spec = Spec(virtual_shards=12, batch_size=256)
    one = Profile(
        profile_id="p", key="", machine_type="local", workers=1, made_at_microseconds=1,
        source="profile", step_seconds=0.1, spread=0.0,
    )  # fmt: skip
    of = sizes.timing(spec, dataset, quoting.listed.of_cores(2, None), {1: pace([one])}, here=True)
    few = replace(of, cores=2)
    two, eight = (few.step(spec, workers, nodes=1)[0].expected for workers in (2, 8))
    assert two < 0.1 < 4 * two and eight > two
