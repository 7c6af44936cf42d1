"""Which gangs go and which runs have ended, and what of it is asked of an API server."""

from pathlib import Path
from typing import Any

import pytest
from kubernetes.config import kube_config

from helpers.meter.standin import ARGO, ApiStandIn
from tally.errors import SpecError
from tally.kube.cluster import Cluster, Refused
from tally.kube.ended import Run, Verdict
from tally.kube.reap import Gang, gangs, remove
from tally.meter.reaping import ALONE_SECONDS, Observed, decide, observe, reaps_of
from tally.runs.kubeflow.giving_back import give_back

RUN = Run("team-a", "run-a", "wf")
GANG = Gang("tally-run-a-train", "job-uid", RUN)
SURE = Verdict("its Workflow is Failed, terminated", "cancelled")
ALONE = Verdict("it has no conductor", is_sure=False)


def test_a_gang_whose_workflow_has_ended_goes_at_once_and_its_run_is_over() -> None:
    decided = decide(Observed([GANG], {RUN: SURE}), {}, 0.0)
    assert decided.remove == [(GANG, SURE.why)]
    assert (decided.over, decided.alone) == ({RUN: SURE}, {})


@pytest.mark.parametrize("verdicts", [{RUN: None}, {}], ids=["goes-on", "could-not-be-read"])
def test_a_gang_whose_run_may_go_on_stays(verdicts: Any) -> None:
    decided = decide(Observed([GANG], verdicts), {GANG.uid: 0.0}, 1e6)
    assert (decided.remove, decided.over, decided.alone) == ([], {}, {})


def test_a_gang_without_a_workflow_goes_when_nobody_has_conducted_it_for_a_while() -> None:
    seen = Observed([GANG], {RUN: ALONE})
    first = decide(seen, {}, 100.0)
    assert (first.remove, first.over, first.alone) == ([], {}, {GANG.uid: 100.0})
    still = decide(seen, first.alone, 100.0 + ALONE_SECONDS - 0.1)
    assert (still.remove, still.alone) == ([], first.alone)
    assert decide(Observed([GANG], {RUN: None}), still.alone, 120.0).alone == {}  # one has come
    last = decide(seen, still.alone, 100.0 + ALONE_SECONDS)
    assert (last.remove, last.over) == ([(GANG, ALONE.why)], {RUN: ALONE})


def test_a_gang_whose_workflow_was_told_to_end_goes_at_once_and_its_run_goes_on() -> None:
    ending = Verdict("its Workflow was told to end", is_sure=False, is_ending=True)
    decided = decide(Observed([GANG], {RUN: ending}), {}, 0.0)
    assert decided.remove == [(GANG, ending.why)]
    assert (decided.over, decided.alone) == ({}, {})  # its exit task may be yet to come


def test_a_run_without_a_gang_is_over_by_its_workflow() -> None:
    assert decide(Observed((), {RUN: SURE}), {}, 0.0).over == {RUN: SURE}


@pytest.mark.parametrize(
    ("given", "expected"),
    [(None, None), ("", None), ("-", frozenset()), ("a, b", frozenset({"a", "b"}))],
)
def test_which_namespaces_gangs_may_be_removed(given: str | None, expected: Any) -> None:
    assert reaps_of({} if given is None else {"TALLY_METER_REAPS": given}) == expected


def test_none_and_some_is_a_mistake() -> None:
    with pytest.raises(SpecError, match="expected namespaces or -, got both"):
        reaps_of({"TALLY_METER_REAPS": "-,a"})


@pytest.fixture
def api() -> Any:
    made = ApiStandIn()
    made.start()
    yield made
    made.stop()


@pytest.fixture
def cluster(api: ApiStandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    api.write_kubeconfig(tmp_path / "config")
    return Cluster(str(tmp_path / "config"))


def job(uid: str = "job-uid", **meta: Any) -> dict[str, Any]:
    labels = {"tally.dev/gang": "g", "tally.dev/run": "run-a", "pipeline/runid": "run-a"}
    owners = [{"kind": "Workflow", "name": "wf", "uid": "w"}]
    usual = {"name": GANG.job, "namespace": "team-a", "labels": labels, "ownerReferences": owners}
    return {"metadata": {**usual, "uid": uid, **meta}}


def workflow(phase: str, **meta: Any) -> dict[str, Any]:
    usual = {"name": "wf", "namespace": "team-a", "labels": {"pipeline/runid": "run-a"}}
    return {"metadata": {**usual, "uid": "w", **meta}, "status": {"phase": phase}}


def test_a_gangs_workflow_is_that_which_owns_it(api: ApiStandIn, cluster: Cluster) -> None:
    api.has_workflows = True
    api.put("jobs", job(), "ADDED")
    api.put("workflows", workflow("Running"), "ADDED")
    api.put("workflows", workflow("Failed", name="other", uid="o", namespace="team-b"), "ADDED")
    assert observe(cluster, None, ()) == Observed([GANG], {RUN: None}, set())
    api.put("workflows", workflow("Failed"))
    assert observe(cluster, None, ()).verdicts == {RUN: Verdict("its Workflow is Failed", "failed")}
    api.put("workflows", workflow("Failed"), "DELETED")
    assert observe(cluster, None, ()).verdicts == {RUN: Verdict("its Workflow is gone")}
    assert observe(cluster, frozenset({"team-b"}), ()) == Observed([], {}, set())


def test_who_cancels_gives_back_the_runs_machines_and_no_others(
    api: ApiStandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    api.write_kubeconfig(tmp_path / "config")
    monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "config"))
    other = {"tally.dev/gang": "o", "tally.dev/run": "other", "pipeline/runid": "other"}
    api.put("jobs", job(), "ADDED")
    api.put("jobs", job("other-uid", name="other", labels=other), "ADDED")
    said: list[str] = []
    give_back("run-a", "team-a", said.append).join(10)
    assert said == [f"gave back the workers of {GANG.job}"]
    assert [one["metadata"]["name"] for one in api.objects["jobs"].values()] == ["other"]
    api.forbidden = {"list jobs.batch"}
    give_back("other", "team-a", said.append).join(10)
    assert len(said) == 1  # the meter will


def test_without_argo_who_conducts_decides(api: ApiStandIn, cluster: Cluster) -> None:
    api.put("jobs", job(), "ADDED")
    labels = {"pipeline/runid": "run-a", "tally.dev/conductor": "train"}
    conductor = {
        "metadata": {"name": "c", "namespace": "team-a", "uid": "c", "labels": labels},
        "status": {"phase": "Running"},
    }
    api.put("pods", conductor, "ADDED")
    assert observe(cluster, None, [RUN]).verdicts == {RUN: None}
    api.put("pods", conductor, "DELETED")
    assert observe(cluster, None, [RUN]).verdicts == {RUN: ALONE}
    assert ("GET", f"{ARGO}/namespaces/team-a/workflows") not in api.asked


def test_a_workflow_that_cannot_be_read_has_not_ended(api: ApiStandIn, cluster: Cluster) -> None:
    api.has_workflows = True
    api.put("jobs", job(), "ADDED")
    api.forbidden = {"list workflows.argoproj.io"}
    assert observe(cluster, None, [Run("team-a", "other")]) == Observed(
        [GANG], {}, {"list workflows.argoproj.io"}
    )
    api.forbidden = {"list jobs.batch"}
    quiet = Run("team-a", "run-a")
    api.put("workflows", workflow("Succeeded"), "ADDED")
    seen = observe(cluster, None, [quiet])  # how runs end is known without a right to their Jobs
    assert seen.missing == {"list jobs.batch"}
    assert decide(seen, {}, 0.0).over[quiet].state == "succeeded"
    api.stop()
    with pytest.raises(Refused):
        observe(cluster, None, ())


def test_only_the_gang_that_was_seen_is_removed_whoever_else_does_it(
    api: ApiStandIn, cluster: Cluster
) -> None:
    api.put("jobs", job(), "ADDED")
    api.put("jobs", job("ending", deletionTimestamp="2026-11-25T10:00:00Z"), "ADDED")
    (gang,) = gangs(cluster)
    assert gang == GANG
    api.put("jobs", job(), "DELETED")
    api.put("jobs", job("made anew"), "ADDED")
    remove(cluster, gang)
    assert list(api.objects["jobs"]) == ["ending", "made anew"]
    ((path, body),) = api.deletions
    assert path == f"/apis/batch/v1/namespaces/team-a/jobs/{GANG.job}"
    assert body == {"propagationPolicy": "Background", "preconditions": {"uid": "job-uid"}}
