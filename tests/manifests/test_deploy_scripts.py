"""What deploy.sh and undeploy.sh ask of kubectl, and what they say where it cannot be done."""

import os
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

from helpers.built_manifests import (
    KUBECTL,
    OVERLAYS,
    PROJECT,
    Object,
    key,
    overlay,
    with_components,
)

pytestmark = pytest.mark.program(KUBECTL)

# In place of kubectl: it builds as the real one, and of a cluster it has only what a test says.
_STAND_IN = """#!/bin/sh
[ "$1" = kustomize ] && exec {kubectl} "$@"
cd {folder}
echo "$@" >>asked
touch jobs meters held refused claims unready
for word in "$@"; do
	case $word in */objects.yaml | */gone.yaml) cp "$word" given.yaml ;; esac
done
case "$*" in
*/readyz*) [ ! -e away ] || {{ echo "dial tcp 192.0.2.1:443: refused" >&2; exit 1; }} ;;
"get jobs"*) cat jobs ;;
"get pods -A -l app.kubernetes.io/name=tally-meter"*) cat meters ;;
"get pods -A -l tally.dev/gang"*) cat held ;;
"get namespace"*) grep -q "delete namespace $3" asked || echo "namespace/$3" ;;
"rollout status"*) [ ! -e stuck ] ;;
"get deployment "*) cat refused ;;
"get persistentvolumeclaims -n tally "*Bound*) cat claims ;;
"get persistentvolumeclaims -n tally "*) printf tally-ledger ;;
"get pods -n tally "*) cat unready ;;
"get events -n tally "*) name=${{*#*involvedObject.name=}}; cat "events-${{name%% *}}" ;;
"logs -n tally tally-meter-1 --previous --tail=1") echo "TALLY_LEDGER_URL: expected a ledger" ;;
esac
"""


class Cluster:
    """What the stand-in of kubectl was asked, and what it has."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        program = folder / "kubectl"
        program.write_text(_STAND_IN.format(kubectl=shlex.quote(KUBECTL), folder=folder))
        program.chmod(0o755)

    def run(
        self, script: str, project: Path = PROJECT, **environment: str
    ) -> "subprocess.CompletedProcess[str]":
        kept = {name: os.environ[name] for name in ("PATH", "HOME")}
        return subprocess.run(
            [str(project / "scripts" / script)],
            env={**kept, "KUBECTL": str(self.folder / "kubectl"), "WAIT": "5", **environment},
            cwd=self.folder,
            capture_output=True,
            text=True,
        )

    def has(self, what: str, text: str = "") -> None:
        (self.folder / what).write_text(text)

    @property
    def asked(self) -> list[str]:
        file = self.folder / "asked"
        return file.read_text().splitlines() if file.exists() else []

    @property
    def given(self) -> list[Object]:
        return [o for o in yaml.safe_load_all((self.folder / "given.yaml").read_text()) if o]

    def changed(self) -> list[str]:
        return [line for line in self.asked if line.split()[0] in ("apply", "delete", "patch")]


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster(tmp_path)


@pytest.mark.parametrize("name", OVERLAYS)
def test_deploy_applies_the_whole_overlay_and_waits_for_each_deployment(
    cluster: Cluster, name: str
) -> None:
    done = cluster.run("deploy.sh", OVERLAY=name)
    assert done.returncode == 0, done.stderr
    assert cluster.given == overlay(name)
    wanted = {o["metadata"]["name"] for o in overlay(name) if o["kind"] == "Deployment"}
    waited = {
        line.split("deployment/")[1].split()[0] for line in cluster.asked if "rollout" in line
    }
    assert waited == wanted


def test_images_go_by_the_names_that_are_given(cluster: Cluster) -> None:
    digest = "registry.example:5000/tally-meter@sha256:" + "a" * 64
    done = cluster.run("deploy.sh", OVERLAY="local", IMAGES=f"localhost/tally-meter={digest}")
    assert done.returncode == 0, done.stderr
    images = [
        one["image"]
        for o in cluster.given
        if o["kind"] == "Deployment"
        for one in o["spec"]["template"]["spec"]["containers"]
    ]
    assert digest in images
    assert not [image for image in images if image.startswith("localhost/")]


def test_what_does_not_run_in_time_is_said(cluster: Cluster) -> None:
    cluster.has("stuck")
    done = cluster.run("deploy.sh", OVERLAY="local")
    assert done.returncode == 1
    assert "expected tally/tally-meter to run within 5 s" in done.stderr


@pytest.mark.parametrize(
    ("has", "lines"),
    [
        pytest.param(
            {
                "claims": "tally-ledger Pending\n",
                "unready": "tally-meter-1\n",
                "events-tally-ledger": "FailedBinding: no storage class is set\n",
                "events-tally-meter-1": "FailedScheduling: no node\n"
                "FailedScheduling: the claim tally-ledger is not bound\n",
            },
            [
                "claim tally-ledger is Pending: FailedBinding: no storage class is set",
                "pod tally-meter-1: FailedScheduling: the claim tally-ledger is not bound",
            ],
            id="a claim that nobody binds",
        ),
        pytest.param(
            {"refused": "FailedCreate: exceeded quota\n"}, ["FailedCreate: exceeded quota"],
            id="no pod at all",
        ),
        pytest.param(
            {
                "unready": "tally-meter-1\n",
                "events-tally-meter-1": "BackOff: Back-off restarting failed container meter\n",
            },
            [
                "pod tally-meter-1: BackOff: Back-off restarting failed container meter; its log "
                "ends: TALLY_LEDGER_URL: expected a ledger"
            ],
            id="one that ends at once",
        ),
    ],
)  # fmt: skip
def test_why_it_does_not_run_is_said_in_kubernetes_words(
    cluster: Cluster, has: dict[str, str], lines: list[str]
) -> None:
    cluster.has("stuck")
    for what, text in has.items():
        cluster.has(what, text)
    done = cluster.run("deploy.sh", OVERLAY="local")
    assert done.returncode == 1
    assert [line[2:] for line in done.stderr.splitlines() if line.startswith("  ")] == lines


@pytest.mark.parametrize("given", ["own", "./own", "whole path"])
def test_a_folder_of_ones_own_is_an_overlay_with_or_without_a_slash(
    cluster: Cluster, tmp_path: Path, given: str
) -> None:
    (project := tmp_path / "project").mkdir()
    for name in ("scripts", "manifests"):
        (project / name).symlink_to(PROJECT / name)
    (own := project / "own").mkdir()
    with_components(own, "local")
    name = str(own) if given == "whole path" else given
    done = cluster.run("deploy.sh", project, OVERLAY=name)
    assert done.returncode == 0, done.stderr
    assert cluster.given == overlay("local")


def test_undeploy_deletes_all_but_the_ledger_and_the_namespace_that_it_is_in(
    cluster: Cluster,
) -> None:
    done = cluster.run("undeploy.sh", OVERLAY="local")
    assert done.returncode == 0, done.stderr
    kept = {key(o) for o in overlay("local")} - {key(o) for o in cluster.given}
    assert kept == {
        ("", "Namespace", "", "tally"),
        ("", "Namespace", "", "tally-runs"),
        ("", "PersistentVolumeClaim", "tally", "tally-ledger"),
    }
    namespaces = [line for line in cluster.asked if line.startswith("delete namespace")]
    assert namespaces == ["delete namespace tally-runs --wait=false"]
    assert "namespace tally stays with its volume claims: tally-ledger" in done.stderr


def test_the_finalizer_goes_off_where_no_meter_is_left_and_stays_on_where_one_is(
    cluster: Cluster,
) -> None:
    cluster.has("held", "team-a worker-0 1\n")
    cluster.has("meters", "pod/tally-meter-of-somebody-else\n")
    assert cluster.run("undeploy.sh", OVERLAY="local").returncode == 0
    assert not [line for line in cluster.asked if line.startswith("patch")]
    cluster.has("meters")
    done = cluster.run("undeploy.sh", OVERLAY="local")
    patch = next(line for line in cluster.asked if line.startswith("patch"))
    assert "-n team-a worker-0 --type=json" in patch
    assert '{"op":"remove","path":"/metadata/finalizers/1"}' in patch
    deleted = next(i for i, line in enumerate(cluster.asked) if "gone.yaml" in line)
    assert deleted < cluster.asked.index(patch)
    assert "took tally.dev/metered off team-a/worker-0" in done.stderr


def test_a_running_gang_is_not_undeployed_under_without_a_word(cluster: Cluster) -> None:
    cluster.has("jobs", "tally-runs/tally-r-train")
    done = cluster.run("undeploy.sh", OVERLAY="local")
    assert (done.returncode, cluster.changed()) == (1, [])
    assert "expected no gang to run, got tally-runs/tally-r-train" in done.stderr
    assert cluster.run("undeploy.sh", OVERLAY="local", FORCE="1").returncode == 0
    assert cluster.changed()


@pytest.mark.parametrize("script", ["deploy.sh", "undeploy.sh"])
@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({}, "expected OVERLAY, got none"),
        ({"OVERLAY": "nowhere"}, f"expected OVERLAY to be one of {' '.join(OVERLAYS)}"),
        (
            {"OVERLAY": "local", "KUBECTL": "/no/kubectl"},
            "expected kubectl 1.27 or newer, got none",
        ),
        ({"OVERLAY": "$(touch x)"}, "got '$(touch x)'"),
    ],
)
def test_what_is_missing_is_one_line_and_nothing_is_changed(
    cluster: Cluster, script: str, environment: dict[str, str], said: str
) -> None:
    done = cluster.run(script, **environment)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert cluster.changed() == []


@pytest.mark.parametrize("script", ["deploy.sh", "undeploy.sh"])
def test_a_cluster_that_does_not_answer_is_one_line(cluster: Cluster, script: str) -> None:
    cluster.has("away")
    done = cluster.run(script, OVERLAY="local")
    assert done.returncode == 2
    assert "dial tcp 192.0.2.1:443: refused; set KUBECONFIG" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("images", ["a", "=b", "a=", "localhost/tally-meter=b;c", "nobody/x=y"])
def test_images_that_cannot_be_are_refused(cluster: Cluster, images: str) -> None:
    done = cluster.run("deploy.sh", OVERLAY="local", IMAGES=images)
    assert (done.returncode, cluster.changed()) == (2, [])
    assert "expected IMAGES" in done.stderr and images.split()[0].split("=")[0] in done.stderr
