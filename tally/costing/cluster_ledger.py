"""What the ledger keeps of a cluster: pods on nodes, and what is beside a run's usage."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, Select, exists, or_, select, union, update

from tally.costing import cluster_tables, tables
from tally.costing.allocation import Charge, charge
from tally.costing.database import reading, writing
from tally.costing.kept import write_rows
from tally.costing.merge import merge, part
from tally.costing.node_shares import NodeAccount, Window, share_nodes
from tally.costing.nodes import Node
from tally.costing.runs import RunKey, RunRecord
from tally.costing.sweep import uncollected
from tally.costing.usage import Source, Usage

CHUNK = 500  # ids in one statement
_TOGETHER = 5000  # rows read at a time: a week of them would be held twice


@dataclass(frozen=True)
class Period:
    """What a period cost: every charge in it, and where the time of its nodes went.

    Attributes:
        charges: of runs and of pods without one, usage and billed time cut to the period.
        accounts: of each node's life in it. Machines that are no nodes have none.
    """

    charges: list[Charge]
    accounts: list[NodeAccount]


@dataclass(frozen=True)
class ClusterLedger:
    """The cluster's part of an open ledger; see Ledger."""

    engine: Engine

    def write_nodes(self, nodes: Iterable[Node]) -> None:
        """Write all lives or none; of two writes of one life the one heard of last stays."""
        values = map(cluster_tables.node_values, nodes)
        write_rows(self.engine, cluster_tables.nodes, cluster_tables.upsert_node, values)

    def nodes(self, start: int | None = None, stop: int | None = None) -> list[Node]:
        """Nodes' lives that overlap a time (microseconds UTC), by node and start."""
        table = cluster_tables.nodes
        query = select(*cluster_tables.NODE_COLUMNS)
        if start is not None:
            query = query.where(table.c.stop_microseconds >= start)
        if stop is not None:
            query = query.where(table.c.start_microseconds < stop)
        query = query.order_by(table.c.node_uid, table.c.start_microseconds)
        with reading(self.engine) as connection:
            return [cluster_tables.as_node(row) for row in connection.execute(query)]

    def put_new_runs(self, records: Iterable[RunRecord]) -> None:
        """Keep runs that the ledger does not know yet; those that it knows stay as they are."""
        values = map(tables.run_values, records)
        write_rows(self.engine, tables.runs, lambda on: tables.insert_new(on, tables.runs), values)

    def run_namespaces(self, run_id: str) -> set[str]:
        """Those with a run of that id, by a record ("" of a machine of its own) or by a pod."""
        record, row = tables.runs, tables.usage
        records = select(record.c.namespace).where(record.c.id == run_id)
        pods = select(row.c.namespace).where(row.c.run_id == run_id, row.c.source == "pod")
        with reading(self.engine) as connection:
            return set(connection.execute(union(records, pods)).scalars())

    def has_run(self, run_id: str, namespace: str) -> bool:
        """Whether this namespace has a run of that id, by a record or by a pod."""
        record, row = tables.runs, tables.usage
        of_record = exists().where(record.c.id == run_id, record.c.namespace == namespace)
        of_pod = exists().where(row.c.run_id == run_id, row.c.namespace == namespace)
        with reading(self.engine) as connection:
            query = select(or_(of_record, of_pod.where(row.c.source == "pod")))
            return bool(connection.execute(query).scalar())

    def usage_of_pods(self, pod_uids: Iterable[str], source: Source | None = None) -> list[Usage]:
        """Rows of these pods as written, not merged, of one source or of all."""
        found: list[Usage] = []
        query, uids = _all_of_usage(), sorted(set(pod_uids))
        if source is not None:
            query = query.where(tables.usage.c.source == source)
        for index in range(0, len(uids), CHUNK):
            some = tables.usage.c.pod_uid.in_(uids[index : index + CHUNK])
            found += self._usage(query.where(some))
        return found

    def open_usage(self, source: Source = "pod") -> list[Usage]:
        """Rows without an end, of one source."""
        table = tables.usage
        query = _all_of_usage().where(table.c.end_microseconds.is_(None))
        return self._usage(query.where(table.c.source == source))

    def live_runs(self, since_microseconds: int) -> set[RunKey]:
        """The cluster's runs of which something lasted at this time or later."""
        table = tables.usage
        query = select(table.c.namespace, table.c.run_id).distinct()
        query = query.where(table.c.run_id != "", table.c.source != "local")
        alive = table.c.stop_microseconds >= since_microseconds
        query = query.where(or_(alive, table.c.end_microseconds.is_(None)))
        with reading(self.engine) as connection:
            return {(namespace, run_id) for namespace, run_id in connection.execute(query)}

    def reprice(
        self,
        machine_type: str,
        spot: bool,
        *,
        price_usd_per_hour: float,
        list_price_usd_per_hour: float,
        software_usd_per_hour: float,
        provider: str,
        currency: str,
        catalogue_version: str,
    ) -> None:
        """Give all that was written without a price of this machine type the one that there is
        now."""
        values = {
            "price_usd_per_hour": price_usd_per_hour,
            "list_price_usd_per_hour": list_price_usd_per_hour,
            "software_usd_per_hour": software_usd_per_hour,
            "provider": provider,
            "currency": currency,
            "catalogue_version": catalogue_version,
        }
        with writing(self.engine) as connection:
            for table in (tables.usage, cluster_tables.nodes):
                query = update(table).where(table.c.machine_type == machine_type)
                query = query.where(table.c.spot == spot, table.c.catalogue_version == "")
                query = query.where(table.c.price_usd_per_hour == 0)
                connection.execute(query.values(values))

    @uncollected()
    def period(self, start_microseconds: int, stop_microseconds: int) -> Period:
        """All that was charged between two times: runs and pods without one, here and on nodes."""
        window = start_microseconds, stop_microseconds
        table = tables.usage
        touched = _touching(_all_of_usage(), window)
        runs = {row.run_id for row in self._usage(touched.where(table.c.source == "local"))}
        rows = self._local_rows(runs)
        charges = [_clipped(one, window) for one in charge(merge(rows))]
        pods = select(table.c.pod_uid).where(table.c.source == "pod")
        query = _all_of_usage().where(table.c.pod_uid.in_(_touching(pods, window)))
        shared, accounts = self._shared(self._usage(query), window)
        charges += [_clipped_usage(one, window) for one in shared]
        there = [one for one in charges if one.usage.stop_microseconds > start_microseconds]
        return Period(
            [one for one in there if one.usage.start_microseconds < stop_microseconds], accounts
        )

    def charges(self, start_microseconds: int, stop_microseconds: int) -> list[Charge]:
        """The charges of `period`."""
        return self.period(start_microseconds, stop_microseconds).charges

    def node_accounts(self, start_microseconds: int, stop_microseconds: int) -> list[NodeAccount]:
        """The accounts of `period`."""
        return self.period(start_microseconds, stop_microseconds).accounts

    def pod_charges(self, run_ids: Iterable[str] | None) -> list[Charge]:
        """Charges of pods with these runs' ids, or of all pods that belong to a run."""
        table = tables.usage
        if run_ids is None:
            rows = self._usage(_all_of_usage().where(table.c.source != "local"))
            return [one for one in self._shared(rows, None)[0] if one.usage.run_id]
        wanted = sorted(set(run_ids))
        own: list[Usage] = []
        for index in range(0, len(wanted), CHUNK):
            some = table.c.run_id.in_(wanted[index : index + CHUNK])
            own += self._usage(_all_of_usage().where(some, table.c.source != "local"))
        if not own:
            return []
        beside = self.usage_of_pods(self._pods_beside(own))
        strangers = [row for row in beside if row.run_id not in set(wanted)]
        charges, _ = self._shared([*own, *strangers], None)
        return [one for one in charges if one.usage.run_id in set(wanted)]

    def _pods_beside(self, own: Sequence[Usage]) -> set[str]:
        """The uids of all pods that were on a node of these rows' while they were."""
        table = tables.usage
        spans: dict[str, Window] = {}
        for row in own:
            if row.node_uid:
                begin, end = spans.get(
                    row.node_uid, (row.start_microseconds, row.stop_microseconds)
                )
                spans[row.node_uid] = (
                    min(begin, row.start_microseconds),
                    max(end, row.stop_microseconds),
                )
        found: set[str] = set()
        with reading(self.engine) as connection:
            for node, window in spans.items():
                query = select(table.c.pod_uid).distinct()
                query = query.where(table.c.node_uid == node, table.c.source == "pod")
                found.update(connection.execute(_touching(query, window)).scalars())
        return found

    def _shared(
        self, rows: Sequence[Usage], window: Window | None
    ) -> tuple[list[Charge], list[NodeAccount]]:
        """Charges of pods' and conductors' rows, and the accounts of their nodes."""
        merged = merge(rows)
        start = min((row.start_microseconds for row in merged), default=0)
        begin, end = window or (start, None)
        nodes = self.nodes(begin, end)
        known = self._known_nodes({row.node_uid for row in merged})
        on_nodes = [row for row in merged if row.phase == "queue" or row.node_uid in known]
        elsewhere = [row for row in merged if row.phase != "queue" and row.node_uid not in known]
        if window is None:
            there = {row.node_uid for row in on_nodes}
            nodes = [node for node in nodes if node.node_uid in there]
        shared = share_nodes(on_nodes, nodes, window)
        others = charge(elsewhere)
        if window is not None:
            others = [_clipped(one, window) for one in others]
        return shared.charges + others, shared.accounts

    def _known_nodes(self, uids: Iterable[str]) -> set[str]:
        """Those of these that are nodes, whenever they were heard of: a pod that began after its
        node's last heartbeat has no machine of its own."""
        column = cluster_tables.nodes.c.node_uid
        wanted, found = sorted(uids), set[str]()
        with reading(self.engine) as connection:
            for index in range(0, len(wanted), CHUNK):
                query = select(column).distinct().where(column.in_(wanted[index : index + CHUNK]))
                found.update(connection.execute(query).scalars())
        return found

    def _local_rows(self, run_ids: Iterable[str]) -> list[Usage]:
        raise NotImplementedError

    def _usage(self, query: Select[Any]) -> list[Usage]:
        found: list[Usage] = []
        with reading(self.engine) as connection:
            for some in connection.execute(query).partitions(_TOGETHER):
                found += tables.as_usage(some)
        return found


def _all_of_usage() -> Select[Any]:
    return select(*(tables.usage.c[name] for name in tables.USAGE_NAMES))


def _touching(query: Select[Any], window: Window) -> Select[Any]:
    table = tables.usage
    query = query.where(table.c.stop_microseconds > window[0])
    return query.where(table.c.start_microseconds < window[1])


def _clipped_usage(one: Charge, window: Window) -> Charge:
    """A charge that is of the window already, with its usage cut to it."""
    row = one.usage
    start = min(max(row.start_microseconds, window[0]), row.stop_microseconds)
    stop = max(start, min(row.stop_microseconds, window[1]))
    if row.stop_microseconds == row.start_microseconds:
        return one
    return Charge(part(row, start, stop), one.billed_microseconds)


def _clipped(one: Charge, window: Window) -> Charge:
    """The part of a charge that lies in the window, by time."""
    row = one.usage
    length = row.stop_microseconds - row.start_microseconds
    if not length:
        return one
    start = min(max(row.start_microseconds, window[0]), row.stop_microseconds)
    stop = max(start, min(row.stop_microseconds, window[1]))
    before = one.billed_microseconds * (start - row.start_microseconds) // length
    until = one.billed_microseconds * (stop - row.start_microseconds) // length
    return Charge(part(row, start, stop), until - before)
