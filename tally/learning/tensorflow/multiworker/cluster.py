"""One process in one TensorFlow cluster after another, without losing a variable.

TensorFlow means a process to be in one cluster for its life. Three things make it so, and none of
them is in its runtime, which renews its peers when it is told to:

- the coordination service ties the processes together for good: off, with the health check that
  would wait for every peer; a peer's death is noticed by its socket, its silence by time-outs;
- a task's number is its rank, and a device is named by it: here a process draws a number for life,
  so that its variables and compiled functions stay good whatever its rank becomes;
- the leader of a group is always task 0: here it is the task of rank 0.

The last two need two of TensorFlow's own functions replaced, in this process. Measured with
TensorFlow 2.21 (requirements pin it): forming anew takes 4 ms and the first sum 30 to 100 ms.
"""

import logging
import secrets
import socket
from collections.abc import Mapping
from typing import Any


class Cluster:
    """This process's devices, and TensorFlow's server for its peers."""

    def __init__(self, host: str, timeout_seconds: float) -> None:
        """Name the devices; must come before TensorFlow's first operation in this process.

        Args:
            host: the address under which peers reach this machine.
            timeout_seconds: how long a collective waits for a peer.

        Raises:
            RuntimeError: TensorFlow has made tensors already, which would be lost.
        """
        from tensorflow.python.eager import context

        if context.context()._context_handle is not None:
            raise RuntimeError(
                "multiworker: expected a process in which TensorFlow has computed nothing yet, got "
                "one in which it has; make the engine before the model"
            )
        self._timeout_seconds = timeout_seconds
        self.task = secrets.randbelow(2**31)
        _replace_tensorflows_rules()
        # TensorFlow takes a port's number and tells none. One that is bound and does not listen is
        # given to nobody else, and TensorFlow may bind it: it sets SO_REUSEADDR as well.
        with socket.socket() as held:
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            held.bind(("", 0))
            self.address = f"{host}:{held.getsockname()[1]}"
            self.strategy = self.form({self.task: self.address}, self.task, key=0)

    def form(self, addresses: Mapping[int, str], leader: int, key: int) -> Any:
        """The strategy of the next cluster; those made before it are dead.

        Args:
            addresses: of every task; this process's must be among them.
            leader: the task that groups meet at.
            key: tells its calls from those of other clusters: those wait in vain, they never mix.
        """
        import tensorflow as tf
        from absl import logging as absl_logging
        from tensorflow.python.distribute import collective_all_reduce_strategy as module
        from tensorflow.python.distribute import multi_worker_util
        from tensorflow.python.eager import context

        name = f"/job:worker/replica:0/task:{leader}"
        multi_worker_util.collective_leader = lambda *_: name
        if context.context()._collective_leader is not None:
            context.context()._collective_leader = name
        module.CollectiveAllReduceStrategy._collective_key_base = key
        resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
            tf.train.ClusterSpec({"worker": dict(addresses)}),
            task_type="worker",
            task_id=self.task,
            rpc_layer="grpc",
        )
        options = tf.distribute.experimental.CommunicationOptions(
            timeout_seconds=self._timeout_seconds
        )
        told = absl_logging.get_verbosity()
        absl_logging.set_verbosity(logging.ERROR)  # it warns of what is meant here
        try:
            self.strategy = tf.distribute.MultiWorkerMirroredStrategy(
                cluster_resolver=resolver, communication_options=options
            )
        finally:
            absl_logging.set_verbosity(told)
        return self.strategy


def _replace_tensorflows_rules() -> None:
    from tensorflow.python.distribute import collective_all_reduce_strategy as module
    from tensorflow.python.distribute import multi_worker_util
    from tensorflow.python.eager import context

    context.context().configure_coordination_service(service_type="")
    module.CollectiveAllReduceExtended._enable_check_health = False
    multi_worker_util._validate_cluster_spec = lambda *_, **__: None
