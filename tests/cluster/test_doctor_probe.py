"""doctor --probe on a real Kubernetes: a pod lists a real S3 server's bucket and is gone again."""

import pytest

from helpers.cluster.objects import IMAGE, apply, every
from helpers.cluster.training_pods import Store
from tally.kube.cluster import Cluster
from tally.kube.probe import PROBE
from tally.runs import doctor_probe

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def settings(cluster: Cluster, namespace: str, store: Store) -> dict[str, str]:
    """A store with its Secret, as runs of this namespace would have it."""
    keys = dict.fromkeys(("accesskey", "secretkey"), "tests")
    secret = {"kind": "Secret", "metadata": {"name": "objects"}, "stringData": keys}
    apply(cluster, secret, namespace)
    return {
        "KFP_NAMESPACE": namespace,
        "TALLY_IMAGE": IMAGE,
        "TALLY_STORE": "s3://tally",
        "TALLY_STORE_SECRET": "objects",
        "AWS_ENDPOINT_URL": store.endpoint,
    }


def probed(cluster: Cluster, settings: dict[str, str], **more: str) -> str:
    """What doctor says of its probe; no pod is left of it."""
    (finding,) = doctor_probe.findings(cluster, {**settings, **more})
    assert not every(cluster, "Pod", settings["KFP_NAMESPACE"], PROBE)
    return finding.line()


def test_the_bucket_is_listed_from_inside(cluster: Cluster, settings: dict[str, str]) -> None:
    where = f"a pod in {settings['KFP_NAMESPACE']} as tally-conductor"
    listed = f"s3://tally at {settings['AWS_ENDPOINT_URL']} can be listed"
    assert probed(cluster, settings) == f"ok       probe: {where}: {listed}"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"TALLY_STORE": "s3://of-nobody"}, "s3://of-nobody/doctor: expected"),
        ({"TALLY_STORE_SECRET": "none"}, "CreateContainerConfigError: "),
        ({"TALLY_IMAGE": "registry.invalid/tally:1"}, "correct what it names: TALLY_IMAGE"),
    ],
    ids=["no bucket", "no Secret", "no image"],
)
def test_what_keeps_it_from_that_is_one_line(
    cluster: Cluster, settings: dict[str, str], wrong: dict[str, str], words: str
) -> None:
    line = probed(cluster, settings, **wrong)
    assert line.startswith("missing  probe: a pod in ") and words in line
