"""Whether a run has ended, by what the cluster shows of it."""

from typing import Any

import pytest

from tally.kube.ended import Seen, Verdict, verdict


def workflow(phase: str | None, **spec: Any) -> dict[str, Any]:
    meta = {"metadata": {"name": "wf"}, "spec": spec}
    return {**meta, **({} if phase is None else {"status": {"phase": phase}})}


def conductor(phase: str) -> dict[str, Any]:
    return {"status": {"phase": phase}}


# as Kubeflow terminates, by the code of its backend and by its recorded end: Failed; then as Argo
TERMINATED = {"activeDeadlineSeconds": 0}, {"shutdown": "Terminate"}, {"shutdown": "Stop"}


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (Seen([workflow("Succeeded")]), Verdict("its Workflow is Succeeded", "succeeded")),
        (Seen([workflow("Failed")]), Verdict("its Workflow is Failed", "failed")),
        (Seen([workflow("Error")]), Verdict("its Workflow is Error", "failed")),
        *(
            (
                Seen([workflow("Failed", **spec)]),
                Verdict("its Workflow is Failed, terminated", "cancelled"),
            )
            for spec in TERMINATED
        ),
        (
            Seen([workflow("Failed", activeDeadlineSeconds=60)]),
            Verdict("its Workflow is Failed", "failed"),
        ),
        (Seen(is_gone=True), Verdict("its Workflow is gone")),
        (Seen(conductors=[]), Verdict("it has no conductor", is_sure=False)),
        (
            Seen(conductors=[conductor("Failed")]),
            Verdict("its conductor has failed", is_sure=False),
        ),
    ],
    ids=lambda value: value.why if isinstance(value, Verdict) else "",
)
def test_it_has_ended(seen: Seen, expected: Verdict) -> None:
    assert verdict(seen) == expected


@pytest.mark.parametrize(
    "seen",
    [
        *(Seen([workflow(phase)]) for phase in ("Running", "Pending", "", None)),
        Seen([workflow("Failed"), workflow("Running")]),
        Seen([workflow("Running")], conductors=[]),
        Seen(conductors=[conductor("Running")]),
        Seen(conductors=[conductor("Failed"), conductor("Pending")]),
        Seen(conductors=[conductor("Unknown")]),
        Seen(),
    ],
    ids=str,
)
def test_it_may_go_on(seen: Seen) -> None:
    assert verdict(seen) is None


@pytest.mark.parametrize("spec", TERMINATED, ids=str)
def test_one_that_was_told_to_end_is_not_over_and_its_gang_is_nobodys(spec: Any) -> None:
    ending = verdict(Seen([workflow("Running", **spec)]))
    assert ending is not None
    assert (ending.is_ending, ending.is_sure, ending.state) == (True, False, None)
    both = verdict(Seen([workflow("Failed"), workflow("Running", **spec)]))
    assert both is not None and both.is_ending
    assert verdict(Seen([workflow("Running"), workflow("Running", **spec)])) is None


def test_its_workflow_says_from_when_to_when_it_was() -> None:
    ended = workflow("Succeeded")
    ended["metadata"]["creationTimestamp"] = "2026-11-30T10:00:00Z"
    ended["status"]["finishedAt"] = "2026-11-30T10:02:59Z"
    found = verdict(Seen([ended]))
    assert found is not None
    assert found.created_microseconds is not None and found.ended_microseconds is not None
    assert found.ended_microseconds - found.created_microseconds == 179 * 10**6
