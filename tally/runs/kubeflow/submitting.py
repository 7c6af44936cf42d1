"""Submit to Kubeflow Pipelines, and follow a run there to its end."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from tally.errors import TallyError
from tally.reports.quote_text import between
from tally.runs import pipelines, quotes
from tally.runs.consent import Consent
from tally.runs.kubeflow import creating, uploading
from tally.runs.kubeflow.connection import Connection, connect
from tally.runs.kubeflow.ending import Ended, ended, left_running
from tally.runs.kubeflow.explaining import Explaining
from tally.runs.kubeflow.finding import find_run, whole_run
from tally.runs.kubeflow.giving_back import give_back
from tally.runs.kubeflow.hearing import Hearing
from tally.runs.kubeflow.package import Package, package
from tally.runs.kubeflow.retrying import retry
from tally.runs.kubeflow.showing import Shown, display
from tally.runs.kubeflow.sizing import sizes_of
from tally.runs.kubeflow.steps import leaves
from tally.runs.kubeflow.watching import terminate, watch
from tally.runs.signals import held, interrupting

CANCEL_SECONDS = 60.0  # in which nothing of the run changes
_LAST_LOOK_SECONDS = 3.0


def submit(
    name: str,
    settings: Mapping[str, str],
    console: Console,
    *,
    cancel_on_interrupt: bool = False,
    consent: Consent | None = None,
) -> Ended:
    """Run a pipeline on the cluster of KFP_HOST, and follow it to its end.

    Args:
        name: a packaged pipeline, or the path of the user's own file.
        settings: parameters over the pipeline's presets.
        console: where progress goes.
        cancel_on_interrupt: what an interruption does: end the run, instead of leaving it running.
        consent: to what the quote says, where this machine can tell one.

    Raises:
        SpecError: bad input, or refused by the server; no run was made.
        typer.Abort: the user does not agree to the quote.
        RunError: the server does not answer.
    """
    pipelines.check(name)
    connection = connect()
    say = _lines(console)
    where = (
        f"{name} on {connection.settings.host}, as {connection.settings.who()}, "
        f"namespace {connection.settings.pods_namespace}"
    )
    quoted = quotes.of_cluster(name, settings)
    usd = quoted.picked.usd if quoted else None
    say(f"{where}, quote {between(usd.low, usd.high)}" if usd else f"{where}, quoted by its plan")
    made = package(name, settings, sizes_of(connection.settings.pods_namespace, say))
    if usd:
        (consent or Consent()).require(console, usd.expected, usd.high, name)
    body = _uploaded(connection, made)
    with held() as received:
        run = creating.create_run(connection, body)
        say(f"run {run['run_id']} ({body['display_name']}, version {made.version})")
        say(connection.run_link(str(run["run_id"])))
    return follow(
        connection, run, made.steps, console,
        cancel_on_interrupt=cancel_on_interrupt, interrupted=bool(received), is_new=True,
    )  # fmt: skip


def _uploaded(connection: Connection, made: Package) -> dict[str, Any]:
    """What the server is asked to run, once it has the pipeline, its version and the experiment."""
    pipeline = uploading.pipeline_id(connection, made.pipeline)
    version = uploading.version_id(connection, pipeline, made)
    experiment = uploading.experiment_id(
        connection, connection.settings.experiment or made.pipeline
    )
    body = {
        "display_name": creating.unique_name(made.pipeline),
        "experiment_id": experiment,
        "pipeline_version_reference": {
            "pipeline_id": pipeline,
            "pipeline_version_id": version,
        },
        "runtime_config": {"parameters": dict(made.parameters)},
    }
    if account := connection.settings.service_account:
        body["service_account"] = account
    return body


def resume(connection: Connection, text: str, console: Console) -> Ended:
    """Go on with a run that failed or was cancelled, and follow it to its end.

    Args:
        connection, text: as of rejoin.

    Raises:
        SpecError: there is none, or nothing to go on with. RunError: the server does not answer.
    """
    run = retry(connection, whole_run(connection, text))
    _lines(console)(connection.run_link(str(run["run_id"])))
    return follow(connection, run, tasks_of(connection, run), console)


def rejoin(
    connection: Connection, text: str, console: Console, *, cancel_on_interrupt: bool = False
) -> Ended:
    """Follow a run that was left running.

    Args:
        connection: to the server.
        text: its id, as much of it as is unique, or its name.

    Raises:
        SpecError: there is none. RunError: the server does not answer.
    """
    run = find_run(connection, text)
    _lines(console)(connection.run_link(str(run["run_id"])))
    return follow(
        connection, run, tasks_of(connection, run), console, cancel_on_interrupt=cancel_on_interrupt
    )


def follow(
    connection: Connection,
    run: Mapping[str, Any],
    names: Sequence[str],
    console: Console,
    *,
    cancel_on_interrupt: bool = False,
    interrupted: bool = False,
    is_new: bool = False,
) -> Ended:
    """Show a run until it has ended, or until this process is interrupted.

    Args:
        run: the server's answer.
        names: of its tasks, in order.
        cancel_on_interrupt: as of submit.
        interrupted: it already was.
        is_new: it was made just now.
    """
    run_id = str(run["run_id"])
    namespace = connection.settings.pods_namespace
    explaining = Explaining(run_id, namespace)
    hearing = Hearing(run_id, namespace, is_new=is_new)
    shown = display(console)

    def reasons() -> Mapping[str, str]:
        for line in hearing.new():
            shown.note(line)
        return {**hearing.sizes, **explaining.reasons}

    try:
        with interrupting():
            try:
                if interrupted:
                    raise KeyboardInterrupt
                last = watch(connection, run_id, names, shown, reasons)
            except KeyboardInterrupt:
                if not cancel_on_interrupt:
                    return left_running(connection, run)
                last = _cancel(connection, run_id, names, shown)
    except KeyboardInterrupt:  # once more, while it was being cancelled
        return left_running(connection, run)
    finally:
        hearing.stop()
        shown.close()
    return ended(connection, last, names, explaining.last_look(_LAST_LOOK_SECONDS))


def _cancel(
    connection: Connection, run_id: str, names: Sequence[str], shown: Shown
) -> dict[str, Any]:
    shown.note("cancelling; Kubeflow takes up to a minute, Ctrl-C leaves it to it")
    terminate(connection, run_id)
    give_back(run_id, connection.settings.pods_namespace, shown.note)
    return watch(connection, run_id, names, shown, dict, CANCEL_SECONDS)


def tasks_of(connection: Connection, run: Mapping[str, Any]) -> list[str]:
    """The tasks of a run's pipeline, none where the server no longer has it."""
    spec = run.get("pipeline_spec")
    if not spec:
        reference = run.get("pipeline_version_reference") or {}
        path = (f"pipelines/{reference.get('pipeline_id')}/versions/"
                f"{reference.get('pipeline_version_id')}")  # fmt: skip
        try:
            spec = connection.request("GET", path, what="see the run's pipeline")["pipeline_spec"]
        except (TallyError, KeyError):
            return []
    return leaves(spec)


def _lines(console: Console) -> Any:
    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    return say
