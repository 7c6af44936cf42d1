"""`doctor --probe`: whether a pod reaches the store, by one that is made and removed again."""

import time
from collections.abc import Iterator, Mapping

from tally.content import COMPONENTS_IMAGE
from tally.errors import SpecError, TallyError
from tally.kube.cluster import Cluster, Refused
from tally.kube.probe import COMMAND, Probe, Probed
from tally.kube.template import Volume, WorkerTemplate
from tally.runs import signals
from tally.runs.doctor_kubernetes import account_of, namespace_of
from tally.runs.finding import Finding, of_error
from tally.runs.placement import Placement, placement
from tally.runs.tasks import SECRET_KEYS

SECONDS = 60.0
_TO_END_SECONDS = 12.0  # of these, for the last look and for removing it
_REMEDIES = {
    "unschedulable": "give the cluster a node that takes a small pod; steps would wait as it did",
    "image": "correct what it names: TALLY_IMAGE, TALLY_IMAGE_PULL_SECRET, TALLY_STORE_SECRET",
}
_REMEDY = "run it again, and look at the cluster where it is the same"


def findings(
    cluster: Cluster, environment: Mapping[str, str], seconds: float = SECONDS
) -> Iterator[Finding]:
    """Make the pod where runs' pods are, say what it said, and remove it whatever happens.

    Args:
        cluster: the kubeconfig's.
        environment: of whoever compiles.
        seconds: for all of it.
    """
    deadline = time.monotonic() + seconds - _TO_END_SECONDS
    namespace = namespace_of(environment)
    try:
        placed = placement(environment)
        account = account_of(cluster, environment)
    except SpecError:
        return  # has a line of its own
    except TallyError as error:
        yield of_error("probe", error)
        return
    if not account:
        remedy = "set KFP_SERVICE_ACCOUNT to that of runs"
        yield Finding("probe", False, f"no account of runs in {namespace}", remedy)
        return
    probe, left = Probe(cluster, namespace, template(placed, account)), ""
    with signals.interrupting():
        try:
            found = of_probed(probe.run(deadline - time.monotonic()), namespace, account)
        except Refused as error:
            found = of_refused(error, namespace)
        finally:
            with signals.held():
                left = probe.remove()
    yield found
    if left:
        remedy = f"kubectl delete pod -n {namespace} {probe.name}"
        yield Finding("probe's pod", False, f"could not be removed: {left}", remedy)


def template(placed: Placement, account: str) -> WorkerTemplate:
    """What the pod has: what a step has of image, store and account. Pure."""
    store = placed.environment["TALLY_STORE"]
    claim = {"persistentVolumeClaim": {"claimName": placed.store_claim}}
    return WorkerTemplate(
        image=placed.image or COMPONENTS_IMAGE,
        cpu_cores=1.0,
        cpu_request_cores=0.1,
        memory_bytes=512 << 20,
        memory_request_bytes=256 << 20,
        environment=placed.environment,
        secret_environment={
            variable: (placed.store_secret, key)
            for key, variable in SECRET_KEYS.items()
            if placed.store_secret
        },
        volumes=(Volume(name="store", path=store, source=claim),) if placed.store_claim else (),
        service_account=account,
        pull_secrets=placed.pull_secrets,
        command=COMMAND,
    )


def of_probed(probed: Probed, namespace: str, account: str) -> Finding:
    """The finding that its words are; an error has its remedy after the last semicolon. Pure."""
    where = f"a pod in {namespace} as {account}: {probed.words}"
    if probed.good:
        return Finding("probe", True, where, "")
    found, semicolon, remedy = where.rpartition("; ")
    if probed.cause == "exit" and semicolon:
        return Finding("probe", False, found, remedy)
    return Finding("probe", False, where, _REMEDIES.get(probed.cause, _REMEDY))


def of_refused(error: Refused, namespace: str) -> Finding:
    """The finding that no pod came to be, or none can be seen. Pure."""
    words = " ".join((error.words or error.why).split())
    remedy = "run it again"
    if error.status == 403:
        remedy = f"let who may make pods in {namespace} run doctor --probe"
    return Finding("probe", False, f"no pod in {namespace}: {words}", remedy)
