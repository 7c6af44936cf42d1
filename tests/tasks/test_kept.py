"""What readers are left of a task: the same words, facts and sections, through JSON."""

import json

import numpy as np
import pytest

from tally.tasks import kept, packaged, reading

PROBABILITIES = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
ANSWERED = {
    "classification": ({"class_names": ("a", "b")}, np.array([0, 1, 1]), PROBABILITIES),
    "regression": ({"mean": 0.0, "scale": 1.0}, np.arange(9.0), np.arange(9.0) + 0.1),
}


@pytest.mark.parametrize("name", ANSWERED)
def test_what_was_kept_is_told_as_its_task_tells_it(name: str) -> None:
    task, (facts, target, answers) = packaged.named(name), ANSWERED[name]
    measure = task.measure(facts)
    measure.add(target, answers)
    measures = measure.result()
    row = task.row(measures)
    found = json.loads(json.dumps({**measures, **kept.evaluation(task, measures)}))
    told, row_kept = reading.of(found), json.loads(json.dumps({**row, **kept.row(task, row)}))
    assert isinstance(told, kept.Kept) and told.headline == task.headline
    assert told.sentence(found) == task.sentence(measures)
    assert told.facts(found) == task.facts(measures)
    assert told.sections(found) == task.sections(measures)
    assert told.candidate(row_kept) == task.candidate(row)


def test_words_that_were_kept_come_before_names() -> None:
    regression = packaged.named("regression")
    words = json.loads(json.dumps(kept.words(regression)))
    found = reading.words(words, {"test_accuracy": 1.0})
    assert found.headline == regression.headline and set(found.columns) == {"mae"}
    assert found.kind("test_accuracy").share is False
    assert reading.words({}, {"test_r2": 0.5}).headline == regression.headline


def test_words_from_elsewhere_are_one_plain_line_each() -> None:
    words = kept.words(packaged.named("regression"))
    words["headline"] |= {"title": "\x1b[31mgood\nor not", "word": "x" * 1000}
    found = reading.words(words, {}).headline
    assert (found.title, len(found.word)) == ("good or not", kept.LONGEST)
