"""What the meter says is what it was told: documents through JSON and back."""

import json
import math
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tally.costing import documents
from tally.costing.bill import Bill, BillLine
from tally.costing.quotes import Quote, RunEvent
from tally.costing.runs import RunRecord
from tally.costing.usage import Usage
from tally.errors import SpecError

words = st.text(max_size=20)
seconds = st.floats(0, 1e9)
amounts = st.decimals(0, 10**12, places=15)
moments = st.integers(1, 2**52)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=8,
)
lines = st.builds(
    BillLine, words, st.sampled_from(["queue", "startup", "work", "restart"]), seconds, amounts,
    amounts,
)  # fmt: skip
bills = st.builds(
    Bill,
    run_id=words,
    pipeline=words,
    state=st.sampled_from(["running", "succeeded", "failed"]),
    attempts=st.integers(1, 9),
    lines=st.lists(lines, max_size=4).map(tuple),
    wall_seconds=seconds,
    billed_seconds=seconds,
    hardware_usd=amounts,
    software_usd=amounts,
    time_usd=amounts,
    total_usd=amounts,
    value_of_hour_usd=seconds,
    price_usd_per_hour=st.none() | seconds,
    examples=st.none() | st.integers(1, 10**9),
    measure=st.just("test_accuracy"),
    result=st.none() | st.floats(0, 1),
    usd_per_example=st.none() | amounts,
    usd_per_point=st.none() | amounts,
    wasted=st.lists(lines, max_size=2).map(tuple),
    confirmed=st.booleans(),
    unpriced=st.lists(words, max_size=2).map(tuple),
)


def through_json(document: dict[str, object]) -> dict[str, object]:
    """As a strict reader sees it."""
    return json.loads(json.dumps(document, allow_nan=False))


@given(bills)
def test_a_bill_comes_back_equal_to_the_last_digit(bill: Bill) -> None:
    back = documents.bill_of(through_json(documents.bill_document(bill)))
    assert back == bill
    assert [str(line.hardware_usd) for line in back.lines] == [
        str(line.hardware_usd) for line in bill.lines
    ]


def test_an_amount_with_more_digits_than_a_float_has_survives() -> None:
    exact = Decimal("12345678901.123456789012345")
    line = BillLine("train", "work", 1.0, exact, Decimal(0))
    assert Decimal(str(float(exact))) != exact
    assert documents._read(BillLine, documents._line_document(line), documents._amount) == line


@given(
    st.builds(
        RunRecord,
        id=words,
        pipeline=words,
        state=st.just("failed"),
        error=words,
        created_at_microseconds=moments,
        value_of_hour_usd=seconds,
        spec=st.dictionaries(words, json_values.filter(lambda v: v == v), max_size=3),
        metrics=st.dictionaries(words, st.floats(allow_nan=False), max_size=3),
    )
)
def test_a_run_comes_back_equal(run: RunRecord) -> None:
    back = documents.run_of(through_json(documents.run_document(run)))
    assert replace(back, spec={}) == replace(run, spec={})
    assert back.spec == documents.finite(run.spec)


def test_a_measure_that_is_no_number_comes_back_as_none() -> None:
    run = RunRecord(
        id="r", pipeline="p", state="failed", created_at_microseconds=1, value_of_hour_usd=1.0,
        metrics={"test_loss": math.nan, "worst": -math.inf},
    )  # fmt: skip
    back = documents.run_of(through_json(documents.run_document(run)))
    assert math.isnan(back.metrics["test_loss"]) and back.metrics["worst"] == -math.inf


@given(
    st.builds(
        Usage,
        run_id=words,
        pipeline=words,
        step=words,
        pod_uid=words,
        node_uid=words,
        container=words,
        start_microseconds=moments,
        end_microseconds=st.none() | moments,
        heartbeat_at_microseconds=moments,
        cpu_used_core_seconds=seconds,
        wait_seconds=seconds,
        phase=st.sampled_from(["queue", "work"]),
        source=st.sampled_from(["pod", "conductor"]),
        price_usd_per_hour=seconds,
        spot=st.booleans(),
    )
)
def test_usage_comes_back_equal(row: Usage) -> None:
    assert documents.usage_of(through_json(documents.usage_document(row))) == row


def test_quotes_and_events_come_back_equal() -> None:
    quote = Quote(
        run_id="r", made_at_microseconds=1, low_usd=0.1, expected_usd=0.2, high_usd=0.3000000004,
        document={"rows": [{"workers": 2}]},
    )  # fmt: skip
    assert documents.quote_of(through_json(documents.quote_document(quote))) == quote
    event = RunEvent(run_id="r", at_microseconds=2, kind="resize", facts={"workers": [1, 2]})
    assert documents.event_of(through_json(documents.event_document(event))) == event


def test_facts_that_json_has_no_word_for_are_text() -> None:
    event = RunEvent(
        run_id="r", at_microseconds=2, kind="epoch", facts={"loss": math.nan, "a": (1,)}
    )
    assert through_json(documents.event_document(event))["facts"] == {"loss": "nan", "a": [1]}


def test_a_newer_meters_further_names_are_passed_over_and_an_older_ones_are_defaults() -> None:
    bill = {"run_id": "r", "of_tomorrow": {"x": 1}}
    with pytest.raises(SpecError, match="expected pipeline in a Bill, got none"):
        documents.bill_of(bill)
    event = documents.event_of({"run_id": "r", "at_microseconds": 1, "kind": "k", "later": 1})
    assert (event.step, dict(event.facts)) == ("", {})


@pytest.mark.parametrize("bad", ["nan", "Infinity", "1,5", [], {}, "x" * 200], ids=repr)
def test_an_amount_that_is_none_is_a_clear_line(bad: object) -> None:
    line = {"step": "", "phase": "work", "seconds": 1.0, "hardware_usd": bad, "software_usd": "0"}
    with pytest.raises(SpecError, match="expected an amount in hardware_usd") as caught:
        documents.bill_of({"lines": [line]})
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 200


@pytest.mark.parametrize("bad", [None, [], "text", 1], ids=repr)
def test_an_answer_that_is_no_object_is_a_clear_line(bad: object) -> None:
    with pytest.raises(SpecError, match="expected a Usage"):
        documents.usage_of(bad)  # type: ignore[arg-type]
