"""Make a schedule, renew it, pause it, end it."""

import functools
from collections.abc import Mapping
from datetime import UTC, datetime, tzinfo
from typing import Any

from rich.console import Console

from tally.errors import SpecError, TallyError
from tally.runs import pipelines
from tally.runs.compiled import Sizes
from tally.runs.kubeflow import cron, uploading
from tally.runs.kubeflow import schedule_making as making
from tally.runs.kubeflow import schedules as kept
from tally.runs.kubeflow.connection import Connection, connect
from tally.runs.kubeflow.package import Package, package
from tally.runs.kubeflow.schedules import Schedule
from tally.runs.kubeflow.sizing import sizes_of
from tally.runs.kubeflow.unscheduling import WAIT_SECONDS, drain
from tally.spec import Spec
from tally.userfile import is_user_file

TIMES = 5


def create(
    pipeline: str,
    settings: Mapping[str, str],
    when: str,
    console: Console,
    *,
    name: str = "",
    where: str = "UTC",
    at_once: int = 1,
    catch_up: bool = False,
) -> Schedule:
    """Run a pipeline again and again; the next five times are said before it is made.

    Args:
        pipeline: a packaged one, or the path of the user's own file.
        settings: parameters over the pipeline's presets.
        when: six fields, or "@every 12h".
        console: where the times go.
        name: of the schedule, which no other has; the pipeline's without.
        where: the time zone in which the server reads fields.
        at_once: how many of its runs may go on at a time. Meanwhile times are left out; for the
            newest of them Kubeflow starts one run as soon as one of its runs has ended.
        catch_up: make up for every time that passed while it was paused or the server was away,
            and not for the newest alone.

    Raises:
        SpecError: bad input, a name that is taken, or refused by the server; nothing was made.
        RunError: the server does not answer.
    """
    pipelines.check(pipeline)
    asked, zone = cron.parse(when), cron.zone(where)
    times = cron.next_times(asked, datetime.now(UTC), zone, TIMES)
    _require_at_once(at_once)
    connection = connect()
    _say(console, f"{pipeline} on {connection.settings.host}, as {connection.settings.who()}, "
                  f"namespace {connection.settings.pods_namespace}")  # fmt: skip
    made = package(pipeline, settings, _sizes(connection, console))
    name = name or made.pipeline
    kept.require_free(connection, name)
    say_times(console, f'{name} "{asked.text}"', times, zone)
    version = _uploaded(connection, made)
    body = {
        **_what(connection, name, made, version),
        "max_concurrency": at_once,
        "no_catchup": not catch_up,
        "trigger": kept.trigger_of(asked),
    }
    schedule = making.make(connection, body)
    _say(console, f"schedule {schedule.id} ({name}, version {made.version})")
    return schedule


def _require_at_once(at_once: int) -> None:
    if not 1 <= at_once <= kept.MOST_AT_ONCE:
        raise SpecError(
            f"--at-once: expected 1 to {kept.MOST_AT_ONCE}, got {at_once}; leave it out for 1"
        )


def _what(
    connection: Connection, name: str, made: Package, version: Mapping[str, str]
) -> dict[str, Any]:
    """A schedule that is on: what is run, where, and as whom."""
    experiment = connection.settings.experiment or made.pipeline
    whose = {
        "experiment_id": uploading.experiment_id(connection, experiment),
        "service_account": connection.settings.service_account,
        "namespace": connection.namespace,
    }
    return {
        "display_name": name,
        "mode": "ENABLE",
        "pipeline_version_reference": version,
        "runtime_config": {"parameters": dict(made.parameters)},
        **{key: value for key, value in whose.items() if value != ""},
    }


def update(
    text: str,
    settings: Mapping[str, str],
    console: Console,
    *,
    pipeline: str = "",
    cancel: bool = False,
    seconds: float = WAIT_SECONDS,
) -> Schedule:
    """Compile its pipeline anew; name, times, parameters and whether it is paused stay.

    The server cannot change a recurring run: another one takes its place once its runs have ended.

    Args:
        text: its name or id.
        settings: parameters over its own.
        console: where it says what it does.
        pipeline: the path of the user's own file, where it was made of one.
        cancel: end its runs instead of waiting for them.
        seconds: to wait for them.

    Raises:
        SpecError: bad input; nothing was changed.
        RunError: its runs have not ended, or the server does not answer; it fires as before.
    """
    connection = connect()
    old = kept.find(connection, text)
    source, own = _source(connection, old, pipeline), {**_own(old), **settings}
    made = package(source, own, _sizes(connection, console))
    version = _uploaded(connection, made)
    if old.pipeline_id and version["pipeline_id"] != old.pipeline_id:
        raise SpecError(
            f"schedule {old.name}: expected its own pipeline, got {made.pipeline}; make another "
            "schedule for that"
        )
    if version["pipeline_version_id"] == old.version_id and made.parameters == old.parameters:
        _say(console, f"{old.name} is at version {made.version} already")
        return old
    new = _replace(connection, old, made, version, console, cancel, seconds)
    _say(console, f"schedule {new.id} ({new.name}, version {made.version}) in place of {old.id}")
    return new


def delete(
    text: str, console: Console, *, cancel: bool = False, seconds: float = WAIT_SECONDS
) -> Schedule:
    """End a schedule: no new run, then its runs' end, then it is gone.

    The server's delete takes the runs' pods along and leaves them RUNNING for ever; so not before.

    Args:
        text: its name or id.
        console: where it says what it waits for.
        cancel: end its runs instead of waiting for them.
        seconds: to wait for them.

    Raises:
        SpecError: there is none. RunError: its runs have not ended, or no answer; it is paused.
    """
    connection = connect()
    schedule = kept.find(connection, text)
    kept.enable(connection, schedule, on=False)
    drain(connection, schedule, console, cancel=cancel, seconds=seconds,
          otherwise="until then it is paused, and not deleted")  # fmt: skip
    kept.remove(connection, schedule)
    return schedule


def switch(text: str, console: Console, *, on: bool, where: str = "UTC") -> Schedule:
    """Pause a schedule, or let it go on; either twice is as good as once.

    Args:
        text: its name or id.
        console: where its next times go.
        on: it fires.
        where: the time zone in which the server reads fields.

    Raises:
        SpecError: there is none. RunError: the server does not answer.
    """
    zone, connection = cron.zone(where), connect()
    found = kept.find(connection, text)
    kept.enable(connection, found, on)
    if on and not found.enabled:
        _say(console, f"{found.name}: if a time of it passed in the pause, Kubeflow starts a run "
             "for the newest of them at once")  # fmt: skip
    schedule = kept.find(connection, found.id)
    if times := schedule.next_times(datetime.now(UTC), zone, TIMES):
        say_times(console, f'{schedule.name} "{schedule.when}"', times, zone)
    return schedule


def say_times(console: Console, what: str, times: list[datetime], zone: tzinfo) -> None:
    """The times a line each, and here's where that is another one."""
    _say(console, f"{what} in {zone}, the server's time zone as KFP_TIMEZONE says; next:")
    for at in times:
        here = at.astimezone()
        other = "" if here.utcoffset() == at.utcoffset() else f" ({here:%a %H:%M:%S} here)"
        _say(console, f"  {at:%a %Y-%m-%d %H:%M:%S}{other}")


def _replace(
    connection: Connection, old: Schedule, made: Package, version: Mapping[str, str],
    console: Console, cancel: bool, seconds: float,
) -> Schedule:  # fmt: skip
    """The old one's runs end, the new one is made, the old one goes; else it fires as before."""
    names = ("display_name", "no_catchup", "experiment_id", "service_account")
    body = {
        **{name: old.row[name] for name in names if name in old.row},
        "pipeline_version_reference": dict(version),
        "runtime_config": {"parameters": dict(made.parameters)},
        "max_concurrency": int(old.row.get("max_concurrency") or 1),
        "trigger": old.trigger,
        "mode": "ENABLE" if old.enabled else "DISABLE",
        **({"namespace": connection.namespace} if connection.namespace else {}),
    }
    kept.enable(connection, old, on=False)
    try:
        drain(connection, old, console, cancel=cancel, seconds=seconds,
              otherwise="until then it stays as it was")  # fmt: skip
        new = making.make(connection, body, others=[old.id])
    except (TallyError, KeyboardInterrupt):
        if old.enabled:
            kept.enable(connection, old, on=True)
        raise
    kept.remove(connection, old)
    return new


def _sizes(connection: Connection, console: Console) -> Sizes:
    return sizes_of(connection.settings.pods_namespace, functools.partial(_say, console))


def _uploaded(connection: Connection, made: Package) -> dict[str, str]:
    pipeline = uploading.pipeline_id(connection, made.pipeline)
    version = uploading.version_id(connection, pipeline, made)
    return {"pipeline_id": pipeline, "pipeline_version_id": version}


def _source(connection: Connection, schedule: Schedule, given: str) -> str:
    """What it is compiled of."""
    if given:
        return given
    name = ""
    if schedule.pipeline_id:
        what = f"see the pipeline of {schedule.name}"
        row = connection.request("GET", f"pipelines/{schedule.pipeline_id}", what=what)
        name = str(row.get("display_name") or "")
    if name not in pipelines.names():
        raise SpecError(
            f'schedule {schedule.name}: expected a packaged pipeline, got "{name}"; pass the file '
            "that it was made of: --pipeline mine.py"
        )
    return name


def _own(schedule: Schedule) -> dict[str, str]:
    """Its parameters as settings; a file of the user's is the pipeline's own, at another place."""
    return {
        name: _text(value)
        for name, value in schedule.parameters.items()
        if name in Spec.model_fields and not is_user_file(str(value))
    }


def _text(value: Any) -> str:
    """As a person would write it: JSON has 5.0 for 5, and true for a word."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(int(value) if isinstance(value, float) and value.is_integer() else value)


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)
