"""Whose a pod is, by what its labels and annotations say."""

from typing import Any

import pytest

from helpers.kube.recorded import recorded
from tally.kube.podnames import pod_names

RUN = "5097c778-f388-4fe3-a76c-619f31987930"
LAB = "lab-three-steps"


@pytest.mark.parametrize(
    ("name", "run", "pipeline", "step", "worker"),
    [
        ("kfp-executor", RUN, LAB, "measure", "1663724922"),
        ("kfp-driver", RUN, LAB, "make", "driver-1268829605"),
        ("kfp-dag-driver", RUN, LAB, "root", "driver-219124708"),
        ("running", "run-running", "cnn", "train", "0"),
        ("unschedulable", "run-unschedulable", "cnn", "train", "0"),
    ],
)
def test_a_real_pod_says_whose_it_is(
    name: str, run: str, pipeline: str, step: str, worker: str
) -> None:
    names = pod_names(recorded(name))
    assert (names.run_id, names.pipeline, names.step) == (run, pipeline, step)
    assert (names.worker, names.attempt) == (worker, 1)


def pod(
    node_name: str = "", role: str = "launcher", workflow: str = "flow-x7d2k", **labels: str
) -> dict[str, Any]:
    kept = {"workflows.argoproj.io/workflow": workflow} if workflow else {}
    return {
        "metadata": {
            "name": "a-pod",
            "labels": {**kept, **labels},
            "annotations": {
                "workflows.argoproj.io/node-name": node_name,
                "pipelines.kubeflow.org/runtime-role": role,
            },
            "ownerReferences": [{"name": "other"}, {"name": "its-owner", "controller": True}],
        },
        "spec": {"containers": [{"name": "main"}]},
    }


ROUND = "flow-x7d2k(0).root(0).for-loop-2(0).iteration-iterations(1:1)(0)"


@pytest.mark.parametrize(
    ("node_name", "role", "step"),
    [
        ("flow-x7d2k(0).root(0).make(0).executor(0)", "launcher", "make"),
        ("flow-x7d2k.root.make.executor", "launcher", "make"),
        ("flow-x7d2k(0).root(0).make-driver(2)", "driver", "make"),
        ("flow-x7d2k(0).root(0).make-driver(0).executor(0)", "launcher", "make-driver"),
        ("flow-x7d2k(0).root(0).exit-handler-1-driver(0)", "driver", "exit-handler-1"),
        ("flow-x7d2k(0).root(0).exit-handler-1.onExit(0).finish-driver(0)", "driver", "finish"),
        ("flow-x7d2k(0).root(0).exit-handler-1.onExit.finish(0).executor(0)", "launcher", "finish"),
        ("flow-x7d2k(0).root(0).for-loop-2(0).iteration-driver(0)", "driver", "for-loop-2"),
        (f"{ROUND}.iteration-item-driver(0)", "driver", "for-loop-2"),
        (f"{ROUND}.iteration-item(0).print-op-driver(0)", "driver", "print-op"),
        (f"{ROUND}.iteration-item(0).print-op(0).executor(0)", "launcher", "print-op"),
        ("flow-x7d2k(0).root(0).fetch(0)", "", "fetch"),
        ("flow-x7d2k[0].hello", "", "hello"),
        ("flow-x7d2k", "", "its-owner"),
        ("", "", "its-owner"),
    ],
    ids=["executor", "no retries", "driver", "a task called so", "DAG driver", "exit driver",
         "exit", "loop driver", "round's driver", "driver in a loop", "executor in a loop",
         "importer", "Argo's own steps", "only a workflow", "no Argo"],
)  # fmt: skip
def test_a_step_is_the_task_of_its_argo_node(node_name: str, role: str, step: str) -> None:
    assert pod_names(pod(node_name, role)).step == step


def test_a_workflow_with_dots_in_its_name_is_no_step() -> None:
    named = pod("my.flow.v2-x7d2k(0)", workflow="my.flow.v2-x7d2k")
    assert (pod_names(named).step, pod_names(named).pipeline) == ("its-owner", "my.flow.v2")


@pytest.mark.parametrize(
    ("workflow", "pipeline"),
    [
        ("cnn-mndzz", "cnn"),
        ("nightly-12-2934081152", "nightly"),
        ("nightlyx7k2q-1-2733452158", "nightly"),
        ("my-train", "my-train"),  # generateName has no vowels
        ("", ""),
    ],
)
def test_a_pipeline_is_the_workflow_without_its_random_end(workflow: str, pipeline: str) -> None:
    assert pod_names(pod(workflow=workflow)).pipeline == pipeline


def test_tallys_own_labels_come_first() -> None:
    own = {"tally.dev/step": "train", "tally.dev/pipeline": "mine", "tally.dev/attempt": "3"}
    names = pod_names(pod("flow-x7d2k(0).root(0).make(0).executor(0)", **own))
    assert (names.step, names.pipeline, names.attempt) == ("train", "mine", 3)


@pytest.mark.parametrize("attempt", ["0", "-1", "two", "", "1e9", "9999999"])
def test_an_attempt_that_is_no_number_is_the_first(attempt: str) -> None:
    assert pod_names(pod(**{"tally.dev/attempt": attempt})).attempt == 1


def test_a_pod_without_a_run_is_named_after_itself() -> None:
    names = pod_names({"metadata": {"name": "web-0"}, "spec": {"containers": []}})
    assert (names.run_id, names.pipeline, names.step, names.worker) == ("", "", "", "web-0")


def test_what_strangers_write_is_cut_and_cleaned() -> None:
    bad = "flow(0).root(0).a\nb\x00\u202e" + "c" * 500 + "(0).executor(0)"
    assert pod_names(pod(bad, workflow="flow")).step == "ab" + "c" * 61


def test_a_pod_that_only_calls_itself_a_gangs_is_named_after_itself() -> None:
    named = pod(**{"tally.dev/gang": "mine"})
    named["spec"]["containers"][0]["env"] = [{"name": "TALLY_WORKER", "valueFrom": {}}]
    assert pod_names(named).worker == "a-pod"
