"""Who has a Kubeflow on the test cluster: `make deploy OVERLAY=kubeflow` and connect are done."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from helpers.cluster.deploying import deploy, forwarded, make, no_tally
from helpers.cluster.kubeflow import NAMESPACE
from helpers.cluster.kubeflow_parts import installed
from helpers.cluster.live_kubeflow import LiveKubeflow
from helpers.cluster.metering import MACHINES
from helpers.cluster.objects import IMAGE, PROJECT, labelled_nodes
from helpers.cluster.training_pods import Store
from helpers.cluster.workflows import defined
from helpers.contract.replay import serving
from tally.kube.cluster import Cluster
from tally.meterclient import MeterClient

SHAPE = """
    kubernetes:
      cpu_cores: 0.3
      memory_gib: 1.5
      node_selector: {tally.dev/machine-type: metered}
"""
GANG_OF_ONE = (
    "--yes", "--set", "machine_type=metered", "--set", "augment=1", "--set", "candidates=",
)  # fmt: skip


@dataclass(frozen=True)
class Person:
    """Who has a kubeconfig, and ran `tally connect` once.

    Attributes:
        server: the Kubeflow that they have.
        environment: of their shell.
    """

    server: LiveKubeflow
    cluster: Cluster
    environment: dict[str, str]

    def begin(self, *words: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "tally", *words], env=self.environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def does(self, *words: str, code: int = 0, seconds: float = 600) -> str:
        """What a command prints."""
        process = self.begin(*words)
        said, why = process.communicate(timeout=seconds)
        print(f"--- tally {' '.join(words)}\n{said}{why}")
        assert process.returncode == code, (process.returncode, said, why)
        return said + why if code else said

    def submits(self, *words: str) -> dict[str, Any]:
        """What `--json` says of a run that succeeds."""
        return dict(json.loads(self.does("submit", "cnn", *GANG_OF_ONE, *words, "--json")))

    def sizes(self, run_id: str) -> list[int]:
        """Of the gangs that the run has trained with, as the meter has heard."""
        kept = json.loads((Path(self.environment["TALLY_HOME"]) / "connection.json").read_text())
        meter = MeterClient.from_environment(kept["settings"])
        assert meter is not None
        told = meter.events(run_id, NAMESPACE, kinds=("generation",))
        return [len(event.facts["workers"]) for event in told]

    def clock_seconds(self, run_id: str) -> float:
        """From the run's creation to its end, as Kubeflow has it."""
        argo = self.server.begun[run_id]
        times = [datetime.fromisoformat(one) for one in (argo.created_at, argo.finished_at)]
        return (times[1] - times[0]).total_seconds()


def write_overlay(folder: Path) -> None:
    """The overlay `kubeflow`, for kubelets that sign for themselves, with this test's prices."""
    (folder / "machines.yaml").write_text(MACHINES.rstrip() + SHAPE)
    to_manifests = os.path.relpath(PROJECT / "manifests", folder)
    prices = "".join(
        f"  - {{name: tally-machines, namespace: {name}, behavior: replace,"
        " files: [machines.yaml]}\n"
        for name in ("tally", NAMESPACE)
    )
    (folder / "kustomization.yaml").write_text(
        f"resources: [{to_manifests}/overlays/kubeflow]\n"
        f"components: [{to_manifests}/components/self-signed-kubelets]\n"
        "generatorOptions: {disableNameSuffixHash: true}\n"
        f"configMapGenerator:\n{prices}"
    )


@contextlib.contextmanager
def connected(cluster: Cluster, store: Store, folder: Callable[[str], Path]) -> Iterator[Person]:
    """Kubeflow and Tally are there, and somebody who has connected, until the block ends.

    Args:
        folder: makes one of that name.
    """
    own = replace(store, bucket="mlpipeline")
    own.make()
    server = LiveKubeflow(cluster=cluster, store=own)
    overlay, home = folder("overlay"), folder("person")
    write_overlay(overlay)
    kept = {name: os.environ[name] for name in ("PATH", "KUBECONFIG")}
    environment = {**kept, "HOME": str(home), "TALLY_HOME": str(home / "tally")}
    priced = {"tally.dev/machine-type": "metered"}
    with (
        labelled_nodes(cluster, priced),
        no_tally(cluster, folder("deployed")),
        defined(cluster, NAMESPACE),
        installed(cluster, own),
        serving(server),
    ):
        try:
            deploy(str(overlay))
            with forwarded("tally-meter", 8080) as url:
                made = Person(server, cluster, environment)
                given = {"KFP_HOST": server.host, "METER_URL": url}
                Person(server, cluster, environment | given).does("connect")
                made.environment["TALLY_IMAGE"] = IMAGE
                yield made
        finally:
            make("undeploy", str(overlay), FORCE="1")
