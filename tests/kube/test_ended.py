"""Whether a run has ended, by what the cluster shows of it."""

from typing import Any

import pytest

from tally.kube.ended import Seen, Verdict, verdict


def workflow(phase: str | None, **spec: Any) -> dict[str, Any]:
    return {"spec": spec, **({} if phase is None else {"status": {"phase": phase}})}


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
        *(Seen([workflow("Running", **spec)]) for spec in TERMINATED),  # its pods are still ending
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
