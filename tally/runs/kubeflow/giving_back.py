"""The machines of a cancelled run's gangs, given back at once where this person may do that.

Kubeflow ends the steps, not what they started: their Jobs would go when the meter has seen it. It
is not for the step either, whose process has about a second.
"""

import threading
from collections.abc import Callable

from tally.errors import RunError, TallyError


def give_back(run_id: str, namespace: str, say: Callable[[str], None]) -> threading.Thread:
    """Delete the run's gangs, in a thread of its own: a cluster that does not answer holds up
    nothing. Without a kubeconfig, or without the right, the meter does it.

    Args:
        run_id: of a run that was asked to end.
        namespace: of its pods.
        say: told what was given back.
    """

    def work() -> None:
        from tally.kube.cluster import Cluster
        from tally.kube.reap import gangs, remove

        try:
            cluster = Cluster()
            own = [gang for gang in gangs(cluster, namespace) if gang.run.id == run_id]
            for gang in own:
                remove(cluster, gang)
                say(f"gave back the workers of {gang.job}")
        except (RunError, TallyError, OSError, ValueError):
            return  # none here, or not allowed

    thread = threading.Thread(target=work, daemon=True, name="giving back")
    thread.start()
    return thread
