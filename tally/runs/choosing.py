"""Which engine a command asks: ENGINE's, the cluster's, or the one that has the run."""

from tally.errors import SpecError
from tally.runs import connected
from tally.runs.engines import Engine
from tally.runs.kubeflow.settings import on_cluster


def engine_of(choice: str, namespace: str = "") -> Engine:
    """The engine that ENGINE names; without it the cluster's where KFP_HOST is set.

    Args:
        choice: ENGINE.
        namespace: whose runs are meant where an id alone does not say it; "" for any's.

    Raises:
        SpecError: it is neither local nor cluster.
    """
    if on_cluster(choice):
        from tally.runs.kubeflow.engine import Kubeflow

        return Kubeflow(namespace)
    if choice == "local":
        connected.withdraw()
    from tally.runs.here import Here

    return Here(namespace)


def engine_with(choice: str, run: str, namespace: str = "") -> Engine:
    """The engine that has a run: as `engine_of`, but a run of this machine is found without being
    asked for by ENGINE.

    Raises:
        SpecError: ENGINE is neither local nor cluster.
    """
    if not choice and on_cluster(choice):
        from tally.costing.ledger import open_ledger

        try:
            open_ledger().find_run(run, namespace or None)
        except SpecError:
            return engine_of(choice, namespace)
        return engine_of("local", namespace)
    return engine_of(choice, namespace)
