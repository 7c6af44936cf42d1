"""Runs begin with their first pod and end when none has been there for ten minutes."""

from typing import Any

import pytest

from helpers.meter.told import created, made, node, recorded
from tally.costing.runs import RunRecord
from tally.kube.ended import Run
from tally.meter.known import Known
from tally.meter.runs import QUIET_MICROSECONDS, Runs

SECOND = 10**6
STEP = recorded("kfp-executor")
RUN = STEP["metadata"]["labels"]["pipeline/runid"]
NOW = created(STEP) + 60 * SECOND


def step(
    uid: str,
    *,
    phase: str = "Succeeded",
    of_try: int = 0,
    later: int = 0,
    task: str = "measure",
    **meta: Any,
) -> Any:
    node_name = f"w(0).root(0).{task}(0).executor({of_try})"
    annotations = STEP["metadata"]["annotations"] | {"workflows.argoproj.io/node-name": node_name}
    begun = f"2026-11-23T19:0{2 + later}:39Z"
    pod = recorded(
        "kfp-executor", uid=uid, name=uid, annotations=annotations, creationTimestamp=begun, **meta
    )
    return {**pod, "status": {**pod["status"], "phase": phase}}


def looked(runs: Runs, known: Known, now: int) -> tuple[list[RunRecord], list[RunRecord]]:
    made(known, now)
    return runs.look(known, now)


def knowing(*pods: Any) -> Known:
    known = Known()
    known.see_node(node(), NOW, gone=False)
    for pod in pods:
        known.see_pod(pod, NOW, gone=False)
    return known


def test_a_run_begins_with_its_first_pod_and_is_its_namespaces() -> None:
    runs = Runs(value_of_hour_usd=7.0)
    ((record,), changed) = looked(runs, knowing(step("a"), step("b", task="other")), NOW)
    assert changed == []
    assert (record.id, record.state, record.engine) == (RUN, "running", "cluster")
    assert (record.team, record.pipeline) == ("kubeflow", "lab-three-steps")
    assert record.value_of_hour_usd == 7.0
    assert record.created_at_microseconds == created(STEP)
    assert looked(runs, knowing(step("a")), NOW) == ([], [])


@pytest.mark.parametrize(
    ("pods", "state"),
    [
        ([step("a")], "succeeded"),
        ([step("a"), step("b", phase="Failed", later=1)], "failed"),
        ([step("a", phase="Failed"), step("b", of_try=1, later=1)], "succeeded"),
    ],
    ids=["all-well", "failed", "tried-again"],
)
def test_it_ends_with_its_last_pod_once_none_has_come_for_ten_minutes(
    pods: list[Any], state: str
) -> None:
    runs, known = Runs(), knowing(*pods)
    looked(runs, known, NOW)
    last = max(row.stop_microseconds for pod in known.pods.values() for row in pod.rows)
    since = max(last, NOW)  # who has just begun to look has not seen ten minutes of nothing
    assert looked(runs, known, since + QUIET_MICROSECONDS) == ([], [])
    (_, (record,)) = looked(runs, known, since + QUIET_MICROSECONDS + SECOND)
    assert (record.state, record.ended_at_microseconds) == (state, last)


def test_a_pod_that_comes_later_opens_it_again() -> None:
    ended = RunRecord(
        id=RUN, pipeline="p", state="failed", created_at_microseconds=created(STEP) - 3600 * SECOND,
        value_of_hour_usd=0.0, engine="cluster", team="kubeflow",
        ended_at_microseconds=created(STEP) - 1800 * SECOND,
    )  # fmt: skip
    runs = Runs()
    runs.recall([ended], NOW)
    (begun, (record,)) = looked(runs, knowing(step("a")), NOW)
    assert begun == []
    assert (record.state, record.ended_at_microseconds) == ("running", None)


@pytest.mark.parametrize("whose_first", ["kubeflow", "stranger"])
def test_a_stranger_who_shows_its_label_before_or_after_has_a_run_of_its_own(
    whose_first: str,
) -> None:
    """Its state and attempts too, whoever is told of first."""
    shown = {
        "kubeflow": step("a", later=1),
        "stranger": step(
            "b", phase="Failed", later=0 if whose_first == "stranger" else 2, namespace="stranger"
        ),
    }
    for order in (("kubeflow", "stranger"), ("stranger", "kubeflow")):
        runs, known = Runs(), knowing(*(shown[name] for name in order))
        begun, _ = looked(runs, known, NOW + 200 * SECOND)
        assert {record.key for record in begun} == {("kubeflow", RUN), ("stranger", RUN)}
        retry = step("c", phase="Failed", later=3, namespace="stranger")
        known.see_pod(retry, NOW + 300 * SECOND, gone=False)
        _, changed = looked(runs, known, NOW + 300 * SECOND)
        assert {record.key: record.attempt for record in changed} == {("stranger", RUN): 2}
        _, ended = looked(runs, known, NOW + 3 * QUIET_MICROSECONDS)
        assert {record.team: (record.state, record.attempt) for record in ended} == {
            "kubeflow": ("succeeded", 1),
            "stranger": ("failed", 2),
        }


def test_how_a_strangers_workflow_ended_closes_the_strangers_run_alone() -> None:
    runs, known = Runs(), knowing(step("a"), step("b", namespace="stranger"))
    looked(runs, known, NOW)
    assert {(run.namespace, run.id) for run in runs.quiet()} == {
        ("kubeflow", RUN),
        ("stranger", RUN),
    }
    runs.over(Run("stranger", RUN), "cancelled", NOW)
    _, (record,) = looked(runs, known, NOW + SECOND)
    assert (record.team, record.state) == ("stranger", "cancelled")
    anew = Runs()
    anew.recall([record], NOW)
    ((begun,), _) = looked(anew, known, NOW + SECOND)
    assert begun.team == "kubeflow"


def closing(*pods: Any) -> tuple[Runs, Known]:
    """A run that goes on, as far as its pods tell."""
    runs, known = Runs(), knowing(*pods)
    looked(runs, known, NOW)
    return runs, known


def test_a_run_that_the_cluster_has_as_ended_is_closed_as_it_says() -> None:
    runs, known = closing(step("a", phase="Failed"))
    (quiet,) = runs.quiet()
    assert quiet == Run("kubeflow", RUN, "lab-three-steps-mndzz")
    runs.over(quiet, "cancelled", NOW)
    assert runs.is_closing
    (_, (record,)) = looked(runs, known, NOW)
    last = max(row.stop_microseconds for pod in known.pods.values() for row in pod.rows)
    assert (record.state, record.ended_at_microseconds) == ("cancelled", last)
    assert not runs.is_closing and runs.quiet() == []
    assert looked(runs, known, NOW + 2 * QUIET_MICROSECONDS) == ([], [])


def test_it_is_closed_once_its_last_pod_has_ended() -> None:
    running = recorded("running", labels=STEP["metadata"]["labels"], namespace="kubeflow")
    runs, known = closing(step("a"), running)
    assert runs.quiet() == []
    at = created(running) + 60 * SECOND
    looked(runs, known, at)
    runs.over(Run("kubeflow", RUN), "cancelled", at)
    assert looked(runs, known, at + SECOND) == ([], []) and runs.is_closing
    known.see_pod(running, at + 5 * SECOND, gone=True)
    (_, (record,)) = looked(runs, known, at + 5 * SECOND)
    assert record.state == "cancelled"
    assert at + SECOND <= record.ended_at_microseconds <= at + 5 * SECOND


def test_where_only_its_pods_can_tell_they_say_how_it_ended() -> None:
    runs, known = closing(step("a"), step("b", phase="Failed", later=1))
    runs.over(Run("kubeflow", RUN), None, NOW)
    (_, (record,)) = looked(runs, known, NOW)
    assert record.state == "failed"


def test_another_namespace_ends_nobodys_run() -> None:
    runs, known = closing(step("a"))
    runs.over(Run("stranger", RUN), "cancelled", NOW)
    runs.over(Run("kubeflow", "none"), "cancelled", NOW)
    assert looked(runs, known, NOW) == ([], []) and not runs.is_closing


def test_a_pod_that_came_after_it_was_asked_for_is_of_a_retry() -> None:
    runs, known = closing(step("a"))
    runs.over(Run("kubeflow", RUN), "failed", created(STEP) + 5 * SECOND)
    known.see_pod(step("b", later=1), NOW, gone=False)
    _, (record,) = looked(runs, known, NOW)
    assert (record.state, record.attempt) == ("running", 2)
    assert looked(runs, known, NOW) == ([], []) and not runs.is_closing


WEEKS = 21 * 24 * 3600 * SECOND


def test_a_run_of_weeks_ago_is_closed_as_the_cluster_has_it() -> None:
    """A meter that was away for so long finds the pods of it and its Workflow."""
    runs, known, now = Runs(), knowing(step("a")), NOW + WEEKS
    (record,), _ = looked(runs, known, now)
    runs.over(Run(record.team, RUN), "cancelled", now)
    _, (closed,) = looked(runs, known, now + SECOND)
    assert closed.state == "cancelled"
    assert looked(runs, known, now + 2 * SECOND) == ([], [])


def test_a_run_whose_pods_are_still_there_after_weeks_does_not_begin_anew() -> None:
    runs, known = Runs(), knowing(step("a"))
    (record,), _ = looked(runs, known, NOW)
    runs.over(Run(record.team, RUN), "cancelled", NOW)
    _, (closed,) = looked(runs, known, NOW + SECOND)
    assert looked(runs, known, NOW + WEEKS) == ([], [])
    restarted = Runs()
    restarted.recall([closed], NOW + WEEKS, {closed.key})
    assert looked(restarted, known, NOW + WEEKS) == ([], [])


def test_a_run_lasts_from_its_workflows_creation_to_its_end() -> None:
    runs, known = closing(step("a"))
    begin, end = created(STEP) - 12 * SECOND, NOW + 9 * SECOND
    runs.over(Run("kubeflow", RUN), "succeeded", NOW, begin, end)
    _, (record,) = looked(runs, known, NOW + 20 * SECOND)
    assert (record.created_at_microseconds, record.ended_at_microseconds) == (begin, end)
    assert looked(runs, known, NOW + 30 * SECOND) == ([], [])


def test_each_life_of_a_step_is_an_attempt_whatever_its_pods_are_named() -> None:
    runs, known = Runs(), knowing(step("a", phase="Failed"))
    ((begun,), changed) = looked(runs, known, NOW)
    assert (begun.attempt, changed) == (1, [])
    known.see_pod(step("other", task="other"), NOW, gone=False)
    assert looked(runs, known, NOW) == ([], [])
    # Kubeflow's retry: the same Argo node, "(0)" again
    known.see_pod(step("b", phase="Running", later=1), NOW, gone=False)
    assert [record.attempt for record in looked(runs, known, NOW)[1]] == [2]
    known.see_pod(step("c", of_try=1, phase="Running", later=2), NOW, gone=False)  # Argo's own
    assert [record.attempt for record in looked(runs, known, NOW)[1]] == [3]
    assert looked(runs, known, NOW) == ([], [])


def test_a_meter_that_begins_anew_takes_no_attempt_back() -> None:
    runs = Runs()
    looked(runs, knowing(step("a", phase="Failed"), step("b", phase="Running", later=1)), NOW)
    record = RunRecord(
        id=RUN, pipeline="p", state="running", created_at_microseconds=created(STEP),
        value_of_hour_usd=1.0, engine="cluster", team="kubeflow", attempt=3,
    )  # fmt: skip
    anew = Runs()
    anew.recall([record], NOW)
    assert looked(anew, knowing(step("b", phase="Running", later=1)), NOW) == ([], [])
