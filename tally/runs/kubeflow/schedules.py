"""Schedules of a Kubeflow Pipelines installation: its recurring runs, as they are, seen and paused.

The server lets several have one name; here it is one schedule's: nobody pays twice by mistake.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

from tally.errors import SpecError
from tally.runs.kubeflow import cron
from tally.runs.kubeflow.connection import Connection

MOST_AT_ONCE = 10  # the server's own bound
_SHORTEST_ID = 6
_UNITS = (("h", 3600), ("m", 60), ("s", 1))

Row = dict[str, Any]


@dataclass(frozen=True)
class Schedule:
    """A recurring run, as the server has it.

    Attributes:
        when: six fields, or "@every 12h"; five in one that was made elsewhere, and misread.
        enabled: it fires; paused otherwise.
        created_at: aware.
        row: the server's answer.
    """

    id: str
    name: str
    when: str
    enabled: bool
    created_at: datetime
    row: Row

    @property
    def trigger(self) -> Row:
        """As the server takes it; it gives numbers as text."""
        trigger = dict(self.row.get("trigger") or {})
        if interval := trigger.get("periodic_schedule"):
            seconds = int(interval["interval_second"])
            trigger["periodic_schedule"] = {**interval, "interval_second": seconds}
        return trigger

    @property
    def experiment_id(self) -> str:
        """Of its runs."""
        return str(self.row.get("experiment_id") or "")

    @property
    def pipeline_id(self) -> str:
        """ "" where the pipeline lies in the schedule itself."""
        return str((self.row.get("pipeline_version_reference") or {}).get("pipeline_id") or "")

    @property
    def version_id(self) -> str:
        """ "" where the pipeline lies in the schedule itself."""
        reference = self.row.get("pipeline_version_reference") or {}
        return str(reference.get("pipeline_version_id") or "")

    @property
    def parameters(self) -> Mapping[str, Any]:
        """Of its runs."""
        return dict((self.row.get("runtime_config") or {}).get("parameters") or {})

    def next_times(self, now: datetime, where: tzinfo, count: int) -> list[datetime]:
        """When it fires next; none where it is paused, or its times cannot be read here.

        Args:
            now: aware.
            where: the time zone in which the server reads fields.
            count: at most so many.
        """
        if not self.enabled:
            return []
        try:
            when = cron.parse(self.when)
            if isinstance(when, cron.Every):  # the server counts from its making, without gaps
                turns = max(timedelta(), now - self.created_at) // timedelta(seconds=when.seconds)
                now = self.created_at + turns * timedelta(seconds=when.seconds)
            return cron.next_times(when, now, where, count)
        except SpecError:
            return []


def trigger_of(when: cron.Cron | cron.Every) -> Row:
    """As the server takes it."""
    if isinstance(when, cron.Every):
        return {"periodic_schedule": {"interval_second": when.seconds}}
    return {"cron_schedule": {"cron": when.text}}


def schedules(connection: Connection, seconds: float = 20.0) -> list[Schedule]:
    """All of the namespace, by name.

    Args:
        seconds: for each page of them.

    Raises:
        As Connection.request.
    """
    rows = connection.pages(
        "recurringruns", "recurringRuns", {"namespace": connection.namespace},
        what="list the schedules", seconds=seconds,
    )  # fmt: skip
    return sorted(map(schedule_of, rows), key=lambda one: (one.name, one.created_at, one.id))


def find(connection: Connection, text: str) -> Schedule:
    """The one of this name, or of this id or 6 and more characters of its beginning.

    Raises:
        SpecError: none, or several. As Connection.request.
    """
    wanted = text.strip()
    every = schedules(connection)
    found = [one for one in every if wanted == one.name]
    found = found or [one for one in every
                      if len(wanted) >= _SHORTEST_ID and one.id.startswith(wanted)]  # fmt: skip
    if len(found) != 1:
        ids = f": {', '.join(one.id for one in found)}" if found else ""
        raise SpecError(
            f"schedule: expected the name or the id of one at {connection.settings.host}, got "
            f'"{text}" ({len(found)} schedules{ids}); `tally schedule list` lists them'
        )
    return found[0]


def require_free(connection: Connection, name: str) -> None:
    """Refuse a name that another schedule has.

    Raises:
        SpecError: one has. As Connection.request.
    """
    if taken := [one for one in schedules(connection) if one.name == name]:
        raise SpecError(
            f'schedule: expected a name that is free, got "{name}" ({taken[0].when}, id '
            f"{taken[0].id}); pass another --name, or `tally schedule update {name}` or "
            f"`tally schedule delete {name}`"
        )


def enable(connection: Connection, schedule: Schedule, on: bool) -> None:
    """Let it fire, or not; a run that goes on is not touched.

    Raises:
        As Connection.request.
    """
    verb = "enable" if on else "disable"
    connection.request(
        "POST", f"recurringruns/{schedule.id}:{verb}", what=f"{verb} the schedule {schedule.name}"
    )


def remove(connection: Connection, schedule: Schedule) -> None:
    """Delete it, and with it all that is left of its runs in the cluster; nothing where it is gone.

    Raises:
        As Connection.request.
    """
    what = f"delete the schedule {schedule.name}"
    try:
        connection.request("DELETE", f"recurringruns/{schedule.id}", what=what)
    except SpecError as error:
        if getattr(error, "status", 0) != 404:
            raise


def schedule_of(row: Row) -> Schedule:
    """Out of the server's answer."""
    created = str(row.get("created_at") or "") or "1970-01-01T00:00:00Z"
    word = str(row.get("status") or row.get("mode") or "")
    return Schedule(
        id=str(row["recurring_run_id"]),
        name=str(row.get("display_name") or ""),
        when=_when(row.get("trigger") or {}),
        enabled=word in ("ENABLED", "ENABLE"),
        created_at=datetime.fromisoformat(created).astimezone(UTC),
        row=row,
    )


def _when(trigger: Mapping[str, Any]) -> str:
    if fields := (trigger.get("cron_schedule") or {}).get("cron"):
        return str(fields)
    seconds = int((trigger.get("periodic_schedule") or {}).get("interval_second") or 0)
    count, unit = next((seconds // of, name) for name, of in _UNITS if seconds % of == 0)
    return f"@every {count}{unit}" if seconds else ""
