"""Pipeline, version and experiment on the server: found, else made, never made twice.

All three are known by name, and the server refuses a second one of a name with 409. So whatever
becomes of a request, looking again tells what there is.
"""

import json
from collections.abc import Callable
from typing import Any

from tally.errors import RunError, SpecError
from tally.runs.kubeflow.connection import Connection
from tally.runs.kubeflow.package import Package
from tally.runs.kubeflow.refusals import ApiRefused


def named(key: str, name: str) -> str:
    """The server's filter for what is called so."""
    wanted = {"operation": "EQUALS", "key": key, "stringValue": name}
    return json.dumps({"predicates": [wanted]})


def pipeline_id(connection: Connection, name: str) -> str:
    """The pipeline of this name, made when there is none.

    Raises:
        SpecError, RunError: as Connection.request.
    """
    what = f"find or make the pipeline {name}"
    query = {"filter": named("display_name", name), "namespace": connection.namespace}
    body = {"display_name": name, "name": name, "namespace": connection.namespace}

    def look() -> str:
        found = connection.request("GET", "pipelines", query=query, what=what)
        return _id(found.get("pipelines"), "pipeline_id")

    def make() -> dict[str, Any]:
        return connection.request("POST", "pipelines", _filled(body), what=what)

    return _found_or_made(look, make, "pipeline_id", what)


def version_id(connection: Connection, pipeline: str, package: Package) -> str:
    """The version with this content, uploaded when there is none.

    Args:
        pipeline: the pipeline's id.

    Raises:
        SpecError, RunError: as Connection.request.
    """
    what = f"find or upload the version {package.version}"
    path, query = f"pipelines/{pipeline}/versions", {"filter": named("name", package.version)}
    form = {"name": package.version, "pipelineid": pipeline}

    def look() -> str:
        found = connection.request("GET", path, query=query, what=what)
        return _id(found.get("pipeline_versions"), "pipeline_version_id")

    def make() -> dict[str, Any]:
        return connection.request(
            "POST", "pipelines/upload_version", query=form, upload=package.text, what=what
        )

    return _found_or_made(look, make, "pipeline_version_id", what)


def experiment_id(connection: Connection, name: str) -> str:
    """The experiment of this name, made when there is none.

    Raises:
        SpecError: it is archived; as Connection.request.
        RunError: as Connection.request.
    """
    what = f"find or make the experiment {name}"
    query = {"filter": named("display_name", name), "namespace": connection.namespace}
    body = {"display_name": name, "namespace": connection.namespace}

    def look() -> str:
        found = connection.request("GET", "experiments", query=query, what=what)
        rows = found.get("experiments") or []
        if any(row.get("storage_state") == "ARCHIVED" for row in rows[:1]):
            raise SpecError(
                f"experiment {name}: expected one in use, got an archived one; restore it in "
                "Kubeflow's UI, or pass another one as KFP_EXPERIMENT"
            )
        return _id(rows, "experiment_id")

    def make() -> dict[str, Any]:
        return connection.request("POST", "experiments", body, what=what)

    return _found_or_made(look, make, "experiment_id", what)


def _found_or_made(
    look: Callable[[], str], make: Callable[[], dict[str, Any]], key: str, what: str
) -> str:
    if found := look():
        return found
    try:
        return str(make()[key])
    except ApiRefused as error:
        if error.status != 409:
            raise
        # somebody else was faster, or this request had been done before its answer was lost
        if found := look():
            return found
        raise RunError(
            f"Kubeflow: expected to {what}, got 409 ({error.words}); try again"
        ) from None
    except KeyError:
        raise RunError(f"Kubeflow: expected to {what}, got an answer without {key}") from None


def _id(rows: list[dict[str, Any]] | None, key: str) -> str:
    return str(rows[0][key]) if rows else ""


def _filled(body: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in body.items() if value}
