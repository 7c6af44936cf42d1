"""The meter's finalizer: which pods only it holds, and taking it off just them."""

import copy
from typing import Any

import pytest

from helpers.kube.recorded import recorded
from tally.kube import finalizer
from tally.kube.cluster import Refused
from tally.kube.former import let_go
from tally.kube.manifests import FINALIZER

NOT_FOUND = Refused("GET pod", 404, "NotFound", "")
CONFLICT = Refused("PATCH pod", 409, "Conflict", "")
FORBIDDEN = Refused("PATCH pod", 403, "Forbidden", "")


def pod(*finalizers: str, grace: int | None = None, **meta: Any) -> dict[str, Any]:
    made = copy.deepcopy(recorded("running"))
    made["metadata"] |= {"finalizers": list(finalizers), **meta}
    if grace is not None:
        made["metadata"] |= {
            "deletionTimestamp": "2026-11-24T10:00:00Z", "deletionGracePeriodSeconds": grace,
        }  # fmt: skip
    return made


@pytest.mark.parametrize(
    ("made", "over"),
    [
        (pod(FINALIZER), False),
        (pod(FINALIZER, grace=5), False),
        (pod(FINALIZER, grace=0), True),
        (pod("batch.kubernetes.io/job-tracking", FINALIZER, grace=0), False),
        (pod("batch.kubernetes.io/job-tracking", grace=0), False),
        (pod(grace=0), False),
    ],
    ids=["alive", "terminating", "held", "held-by-two", "held-by-another", "by-none"],
)
def test_a_pod_is_over_when_nothing_but_the_finalizer_holds_it(made: Any, over: bool) -> None:
    assert finalizer.is_over(made) is over


def test_the_patch_names_pod_and_place_so_that_it_can_hit_nothing_else() -> None:
    made = pod("other", FINALIZER)
    assert finalizer.removal(made) == [
        {"op": "test", "path": "/metadata/uid", "value": made["metadata"]["uid"]},
        {"op": "test", "path": "/metadata/finalizers/1", "value": FINALIZER},
        {"op": "remove", "path": "/metadata/finalizers/1"},
    ]


class Api:
    """Answers in order; keeps what was patched."""

    def __init__(self, *answers: Any) -> None:
        self.answers, self.patched = list(answers), []

    def request(self, method: str, path: str, body: Any = None) -> Any:
        if method == "PATCH":
            self.patched.append(body["metadata"])
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_without_a_meter_it_is_taken_off_the_pod_as_it_is_now_and_others_stay() -> None:
    now = pod("other", FINALIZER, resourceVersion="9")
    api: Any = Api(now, CONFLICT, now, {})
    let_go(api, pod(FINALIZER, resourceVersion="1"))
    uid = now["metadata"]["uid"]
    assert api.patched == [{"uid": uid, "resourceVersion": "9", "finalizers": ["other"]}] * 2
    assert api.answers == []


@pytest.mark.parametrize(
    "answers",
    [
        [NOT_FOUND],
        [pod(FINALIZER, uid="another-life")],
        [pod("other")],
        [pod(FINALIZER), NOT_FOUND],
    ],
    ids=["gone", "another-of-its-name", "off", "just-gone"],
)
def test_where_it_is_off_already_nothing_is_changed(answers: list[Any]) -> None:
    api: Any = Api(*answers)
    let_go(api, pod(FINALIZER))
    assert api.answers == []


def test_a_refusal_is_told() -> None:
    api: Any = Api(pod(FINALIZER), FORBIDDEN)
    with pytest.raises(Refused, match=r"manifests/gang-rbac\.yaml"):
        let_go(api, pod(FINALIZER))
