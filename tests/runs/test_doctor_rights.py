"""doctor against an API server: what the conductor's account may do, verb by verb."""

import copy

import pytest

from helpers.kubernetes_standin import ApiServer, Lines, shipped_rules

VERBS = [
    (number, verb) for number, rule in enumerate(shipped_rules()) for verb in rule["verbs"]
]  # fmt: skip


def test_an_account_that_has_the_role_may_do_all_of_it(lines: Lines) -> None:
    count = sum(len(rule["verbs"]) * len(rule["resources"]) for rule in shipped_rules())
    (line,) = lines("rights")
    assert (
        line
        == f"ok       rights: kubeflow/pipeline-runner may do all {count} that a conductor does"
    )


@pytest.mark.parametrize("number, verb", VERBS, ids=[f"{n}-{verb}" for n, verb in VERBS])
def test_each_verb_that_the_role_lacks_is_named(
    api: ApiServer, lines: Lines, number: int, verb: str
) -> None:
    rules = copy.deepcopy(shipped_rules())
    rules[number]["verbs"].remove(verb)
    api.bound["kubeflow/pipeline-runner"] = rules
    group = rules[number]["apiGroups"][0]
    lacking = [
        f"{verb} {kind}" + (f".{group}" if group else "") for kind in rules[number]["resources"]
    ]
    (line,) = lines("rights")
    assert line.startswith(
        f"missing  rights: kubeflow/pipeline-runner may not {', '.join(lacking)}; make deploy"
    )


@pytest.mark.parametrize(
    "forbidden, caller, begins",
    [
        pytest.param({"localsubjectaccessreviews"}, "admin", "missing", id="cluster-wide reviews"),
        pytest.param(
            {"localsubjectaccessreviews", "subjectaccessreviews"},
            "system:serviceaccount:kubeflow:pipeline-runner", "missing", id="as the account itself",
        ),
        pytest.param(
            {"localsubjectaccessreviews", "subjectaccessreviews"}, "somebody", "optional", id="else"
        ),
    ],
)  # fmt: skip
def test_rights_are_asked_in_the_first_way_that_is_allowed(
    api: ApiServer, lines: Lines, forbidden: set[str], caller: str, begins: str
) -> None:
    api.forbidden, api.caller = forbidden, caller
    api.bound["kubeflow/pipeline-runner"] = shipped_rules()[1:]
    (line,) = lines("rights")
    assert line.startswith(begins)
    assert ("create jobs.batch" in line) == (begins == "missing")
    assert ("can't tell what kubeflow/pipeline-runner may do" in line) == (begins == "optional")


@pytest.mark.parametrize(
    "environment, account",
    [
        pytest.param({"KFP_NAMESPACE": "team-a"}, "team-a/default-editor", id="a profile"),
        pytest.param({"KFP_NAMESPACE": "tally-runs"}, "tally-runs/tally-conductor", id="ours"),
    ],
)
def test_the_account_is_that_of_runs_in_their_namespace(
    api: ApiServer, lines: Lines, environment: dict[str, str], account: str
) -> None:
    api.make_namespace("team-a", "default-editor")
    api.make_namespace("tally-runs", "tally-conductor")
    api.make_namespace("kubeflow", "mine", "pipeline-runner")
    (line,) = lines("rights", **environment)
    assert line.startswith(f"ok       rights: {account} may")


def test_an_account_of_ones_own_has_to_be_named_in_the_role(api: ApiServer, lines: Lines) -> None:
    api.make_namespace("kubeflow", "mine")
    (line,) = lines("rights", KFP_SERVICE_ACCOUNT="mine")
    assert line.startswith("missing  rights: kubeflow/mine may not create serviceaccounts/token; ")
    assert line.endswith(
        "bind its Role tally-gang to mine, which has to stand in its resourceNames"
    )
    api.bound["kubeflow/mine"][-1]["resourceNames"].append("mine")
    (line,) = lines("rights", KFP_SERVICE_ACCOUNT="mine")
    assert line.startswith("ok       rights: kubeflow/mine may do all")


def test_who_may_not_look_is_asked_about_himself(api: ApiServer, lines: Lines) -> None:
    api.make_namespace("tally-runs", "tally-conductor")
    api.caller = "system:serviceaccount:tally-runs:tally-conductor"
    api.forbidden = {
        "localsubjectaccessreviews", "subjectaccessreviews", "/api/v1/namespaces/tally-runs",
        "pipeline-runner", "default-editor", "tally-conductor",
    }  # fmt: skip
    (line,) = lines("rights", KFP_NAMESPACE="tally-runs")
    assert line.startswith("ok       rights: tally-runs/tally-conductor may do all")


def test_a_namespace_or_an_account_that_is_not_there_is_said(api: ApiServer, lines: Lines) -> None:
    (line,) = lines("namespace", KFP_NAMESPACE="team-b")
    assert line.startswith("missing  namespace: team-b is not there; set KFP_NAMESPACE")
    (line,) = lines("service account", KFP_SERVICE_ACCOUNT="other")
    assert line.startswith("missing  service account: none of other in kubeflow; make deploy")
