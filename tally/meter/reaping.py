"""Gangs of ended runs are removed, and the bills of ended runs closed.

    TALLY_METER_REAPS   namespaces, by commas, whose gangs may be removed; all where it is not set,
                        "-" for none

Kubeflow may run no exit task of a run that was terminated, and a Job outlives it. So every ten
seconds: observe (the gangs' Jobs; their runs, and runs of which no pod lasts, as the cluster shows
them), decide (pure), apply. Two meters may do it at once: a Job is deleted by its uid, and how a
run ended says its Workflow, which both read.
"""

import asyncio
import contextlib
import logging
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field

from tally.errors import SpecError
from tally.kube import ended, reap, workflows
from tally.kube.cluster import Cluster, Refused
from tally.kube.reap import Gang
from tally.meter.metering import Meter

_log = logging.getLogger("tally.meter.reaping")
ALONE_SECONDS = 30.0
"""So long no conductor is there before a gang without a Workflow goes: workers that have not heard
it for 15 s have ended by themselves."""

_SECONDS = (5.0, 30.0)  # between two looks: usually, and where a look takes long
_SHARE = 5
_WITHOUT_RIGHT_SECONDS = 60.0
_FORBIDDEN = re.compile(r'cannot (\w+) resource "([^"]+)" in API group "([^"]*)"')

Verdicts = Mapping[ended.Run, ended.Verdict | None]


@dataclass(frozen=True)
class Observed:
    """What the cluster shows.

    Attributes:
        gangs: whose Job is there.
        verdicts: of their runs and of others; of a run that could not be read there is none.
        missing: what the meter may not do: "list workflows.argoproj.io".
    """

    gangs: Sequence[Gang] = ()
    verdicts: Verdicts = field(default_factory=dict)
    missing: Set[str] = frozenset()


@dataclass(frozen=True)
class Decided:
    """What is to be done.

    Attributes:
        remove: gangs, and why.
        over: runs that have ended, and how.
        alone: gangs without a conductor that have to wait: since when, by uid.
    """

    remove: Sequence[tuple[Gang, str]]
    over: Mapping[ended.Run, ended.Verdict]
    alone: Mapping[str, float]


def reaps_of(environment: Mapping[str, str]) -> frozenset[str] | None:
    """The namespaces whose gangs may be removed, as the environment says; None is all.

    Raises:
        SpecError: "-" among names.
    """
    names = frozenset(environment.get("TALLY_METER_REAPS", "").replace(",", " ").split())
    if "-" in names and len(names) > 1:
        raise SpecError("TALLY_METER_REAPS: expected namespaces or -, got both; correct it")
    return names - {"-"} if names else None


def observe(
    cluster: Cluster, namespaces: Iterable[str] | None, quiet: Iterable[ended.Run]
) -> Observed:
    """The gangs, and what is known of their runs and of those without a living pod.

    Args:
        cluster: as the meter.
        namespaces: of the gangs; None is all.
        quiet: runs that may have ended.

    Raises:
        Refused: the API server does not answer. What it does not allow is told.
    """
    missing: set[str] = set()
    found: list[Gang] = []
    verdicts: dict[ended.Run, ended.Verdict | None] = {}
    argo = workflows.has_workflows(cluster)
    with _noted(missing):
        for namespace in [None] if namespaces is None else sorted(namespaces):
            found += reap.gangs(cluster, namespace)
    for run in dict.fromkeys(gang.run for gang in found):
        with _noted(missing):
            verdicts[run] = ended.verdict(workflows.look(cluster, run, argo=argo))
    for run in quiet if argo else ():
        if run not in verdicts:
            with _noted(missing):
                verdicts[run] = ended.verdict(workflows.look_for_workflow(cluster, run))
    return Observed(found, verdicts, missing)


def decide(seen: Observed, alone: Mapping[str, float], now_seconds: float) -> Decided:
    """Which gangs go, and which runs have ended. Pure.

    Args:
        seen: the cluster.
        alone: gangs that had no conductor before: since when, by uid.
        now_seconds: monotonic.
    """
    remove: list[tuple[Gang, str]] = []
    waiting: dict[str, float] = {}
    for gang in seen.gangs:
        verdict = seen.verdicts.get(gang.run)
        if verdict is None:
            continue
        since = alone.get(gang.uid, now_seconds)
        if verdict.is_sure or verdict.is_ending or now_seconds - since >= ALONE_SECONDS:
            remove.append((gang, verdict.why))
        else:
            waiting[gang.uid] = since
    waited = {
        gang.run
        for gang, _ in remove
        if (verdict := seen.verdicts[gang.run]) and not verdict.is_ending
    }
    over = {
        run: verdict
        for run, verdict in seen.verdicts.items()
        if verdict and (verdict.is_sure or run in waited)
    }
    return Decided(remove, over, waiting)


class Reaping:
    """The loop of it, and what it remembers."""

    def __init__(self, meter: Meter, namespaces: frozenset[str] | None) -> None:
        """Asks for nothing yet.

        Args:
            meter: whose runs are closed.
            namespaces: of the gangs that may be removed; None is all.
        """
        self._meter, self._namespaces = meter, namespaces
        self._cluster: Cluster | None = None
        self._alone: Mapping[str, float] = {}
        self._missing: Set[str] = frozenset()

    async def turn(self) -> float:
        """Once; the seconds until the next time.

        Raises:
            RunError: the API server does not answer.
        """
        began, at = time.monotonic(), self._meter.clock.now_microseconds()
        cluster = self._cluster = self._cluster or Cluster()
        quiet = self._meter.runs.quiet()
        seen = await asyncio.to_thread(observe, cluster, self._namespaces, quiet)
        decided = decide(seen, self._alone, began)
        missing = set(seen.missing)
        for run, verdict in decided.over.items():
            times = verdict.created_microseconds, verdict.ended_microseconds
            self._meter.runs.over(run, verdict.state, at, *times)
        for gang, why in decided.remove:
            with _noted(missing):
                await asyncio.to_thread(reap.remove, cluster, gang)
                _log.info("removed %s: %s", gang, why)
        self._alone = decided.alone
        self._say(missing)
        if missing:
            return _WITHOUT_RIGHT_SECONDS
        usual_seconds, longest_seconds = _SECONDS
        return max(usual_seconds, min(longest_seconds, _SHARE * (time.monotonic() - began)))

    def _say(self, missing: Set[str]) -> None:
        """What the meter may not do, once in the log and for as long as it is so in /healthz."""
        line = f"expected to end what is left of them, may not {', '.join(sorted(missing))}; " + (
            "apply the ClusterRole of manifests/base/meter/account.yaml"
        )
        if missing - self._missing:
            _log.warning("ended runs: %s", line)
        self._missing = missing
        self._meter.health.notice("reaping", {"ended runs": line} if missing else {})


@contextlib.contextmanager
def _noted(missing: set[str]) -> Iterator[None]:
    """What the API server does not allow inside is noted; other errors are raised."""
    try:
        yield
    except Refused as error:
        if error.status != 403:
            raise
        found = _FORBIDDEN.search(error.words)
        missing.add(f"{found[1]} {found[2]}.{found[3]}".rstrip(".") if found else error.words)
