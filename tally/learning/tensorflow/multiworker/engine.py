"""A gang's collective by TensorFlow: MultiWorkerMirroredStrategy forms the cluster and sums.

NCCL on GPUs, TensorFlow's ring on CPUs. Generations follow one another in one process (cluster.py);
what a process for each would cost, bench.resize measures.
"""

import contextlib
import socket
from typing import Any

import numpy as np

from tally.data.format import Array
from tally.gang.collective import CollectiveError, Interrupted, Membership, PeerLost
from tally.learning.tensorflow.multiworker.cluster import Cluster
from tally.learning.tensorflow.multiworker.rendezvous import Rendezvous

Tensor = Any
DTYPES = ("float32", "float64", "int32", "int64")


class MultiWorker:
    """TensorFlow's collectives; see tally.gang.collective.Collective for the calls."""

    def __init__(
        self,
        host: str = "127.0.0.1",
        timeout_seconds: float = 5.0,
        listener: socket.socket | None = None,
    ) -> None:
        """Take a place where peers reach this worker, and TensorFlow's devices.

        Must come before TensorFlow's first operation in this process.

        Args:
            host: the address under which peers reach this machine.
            timeout_seconds: how long a peer may be silent in a call, or late to a generation.
            listener: bound and listening; a new one by default.

        Raises:
            RuntimeError: TensorFlow has computed something in this process already.
        """
        self._listener = listener or socket.create_server((host, 0), backlog=64)
        self._host = host
        self._timeout_seconds = timeout_seconds
        self._cluster = Cluster(host, timeout_seconds)
        self._membership: Membership | None = None
        self._calls: dict[tuple[str, str], Any] = {}
        self._order: list[int] = []
        self._interrupted = False

    @property
    def address(self) -> str:
        """Where the peers' rendezvous reaches this worker."""
        return f"{self._host}:{self._listener.getsockname()[1]}"

    def join(self, membership: Membership) -> None:
        """Form the cluster of a generation, in place of the former.

        Raises:
            CollectiveError: a peer did not come in time.
        """
        if self._membership is None or membership.generation > self._membership.generation:
            self._interrupted = False
        self._membership, self._order, self._calls = membership, [0], {}
        if membership.world_size == 1:
            return
        cluster, timeout = self._cluster, self._timeout_seconds
        own = (cluster.task, cluster.address)
        with Rendezvous(self._listener, membership, timeout, lambda: self._interrupted) as meeting:
            tasks = meeting.tasks(own)
            if len(dict(tasks)) != membership.world_size:
                raise PeerLost("two ranks drew one task number: form another generation")
            key = int.from_bytes(membership.key[:4], "big") % (2**30) + 1
            cluster.form(dict(tasks), tasks[0][0], key)
            meeting.go()
        ranks = self._gathered(np.array([membership.rank], np.int64))
        if sorted(ranks) != list(range(membership.world_size)):
            raise PeerLost(f"expected one worker of every rank, got {ranks.tolist()}")
        self._order = np.argsort(ranks).tolist()

    def all_reduce(self, vector: Any) -> Any:
        """The sum over all ranks; a tensor where a tensor was given, an array for an array."""
        if self._formed().world_size == 1 or not len(vector):  # of no elements it would crash
            self._require_uninterrupted()
            return vector
        total = self._call("sum", vector)
        return total.numpy() if isinstance(vector, np.ndarray) else total

    def fold(self, parts: Array) -> Array:
        """The left fold of all ranks' rows; every rank gets all rows and folds them itself."""
        membership = self._formed()
        rows = np.zeros(membership.world_size, np.int64)
        rows[membership.rank] = len(parts)
        rows = np.asarray(self.all_reduce(rows))
        most = int(rows.max())
        padded = np.zeros((most, parts.shape[1]), parts.dtype)
        padded[: len(parts)] = parts
        self._require_uninterrupted()
        every = padded.reshape(-1)
        if membership.world_size > 1 and every.size:
            every = self._gathered(every)
        by_place = every.reshape(membership.world_size, most, parts.shape[1])
        total: Array | None = None
        for rank, place in enumerate(self._order):
            for row in by_place[place, : rows[rank]]:
                total = row.copy() if total is None else np.add(total, row, out=total)
        return np.zeros(parts.shape[1], parts.dtype) if total is None else total

    def broadcast(self, data: bytes | memoryview | None, root: int) -> memoryview:
        """What `root` has: a sum to which the others add zero, in whole numbers."""
        membership = self._formed()
        given = memoryview(data or b"").cast("B") if membership.rank == root else memoryview(b"")
        if membership.world_size == 1:
            self._require_uninterrupted()
            return given
        size = int(self.all_reduce(np.array([len(given)], np.int64))[0])
        words = np.zeros(-(-size // 8), np.int64)
        words.view(np.uint8)[: len(given)] = np.frombuffer(given, np.uint8)
        return memoryview(self.all_reduce(words).view(np.uint8)[:size])

    def interrupt(self) -> None:
        """From another thread: what runs, or comes next, raises Interrupted."""
        import tensorflow as tf
        from tensorflow.python.eager import context

        self._interrupted = True
        with contextlib.suppress(tf.errors.OpError):  # nothing is formed: nothing to abort
            context.context().abort_collective_ops(tf.errors.ABORTED, "interrupted")

    def close(self) -> None:
        """Leave. TensorFlow's server lives as long as the process."""
        self._membership, self._calls = None, {}
        self._listener.close()

    def _formed(self) -> Membership:
        if self._membership is None:
            raise CollectiveError("no generation was joined")
        return self._membership

    def _require_uninterrupted(self) -> None:
        if self._interrupted:
            raise Interrupted("the coordinator knows of a newer generation")

    def _gathered(self, values: Array) -> Array:
        return self._call("gather", values).numpy()  # type: ignore[no-any-return]

    def _call(self, kind: str, values: Any) -> Tensor:
        import tensorflow as tf

        self._require_uninterrupted()
        name = str(getattr(values.dtype, "name", values.dtype))
        if name not in DTYPES:
            raise TypeError(f"all_reduce: expected {', '.join(DTYPES)}, got {name}; cast it")
        call = self._calls.get((kind, name)) or self._traced(kind, name)
        try:
            return call(tf.convert_to_tensor(values))
        except tf.errors.OpError as error:
            self._require_uninterrupted()
            words = " ".join(str(error.message).split())[-300:]
            raise PeerLost(f"{type(error).__name__}: {words}") from error

    def _traced(self, kind: str, dtype: str) -> Any:
        import tensorflow as tf

        strategy = self._cluster.strategy

        def replica(values: Tensor) -> Tensor:
            here = tf.distribute.get_replica_context()
            values = tf.identity(values)  # an argument has no device, which the strategy needs
            if kind == "sum":
                return here.all_reduce(tf.distribute.ReduceOp.SUM, values)
            return here.all_gather(values, axis=0)

        @tf.function(input_signature=[tf.TensorSpec((None,), dtype)], autograph=False)  # type: ignore[untyped-decorator]
        def call(values: Tensor) -> Tensor:
            return strategy.run(replica, args=(values,))

        self._calls[kind, dtype] = call
        return call
