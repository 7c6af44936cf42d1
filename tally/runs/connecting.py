"""`tally connect`: where Kubeflow, the meter and the store are, looked for, tried, and kept.

Out of a kubeconfig and the environment, without what was kept before: what the environment says
counts, the rest is looked for on the cluster. Each thing has a line, with the remedy where it was
not found; what was found is kept either way.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tally.errors import RunError, SpecError, TallyError
from tally.kube import here, services
from tally.kube.cluster import Cluster, Refused, current_context
from tally.kube.template import Object
from tally.meterhttp import http_of
from tally.runs import (
    connected,
    doctor_cluster,
    doctor_services,
    doctor_store,
    persontoken,
    sharedmachines,
)
from tally.runs.doctor_kubernetes import METER, version
from tally.runs.finding import Check, Finding, looked, of_error
from tally.runs.kubeflow.connection import Connection
from tally.runs.kubeflow.refusals import ApiRefused
from tally.runs.kubeflow.settings import Settings, settings
from tally.runs.placement import placement

_UI, _UI_PORT = "ml-pipeline-ui", 8081  # of Kubeflow, which passes on to the API; where to forward
_METER, _METER_PORT = "tally-meter", 8080
_USUAL = {_UI: "kubeflow", _METER: "tally"}  # namespaces, for who may not look at all of them
_FILES = (
    "KFP_TOKEN_FILE", "KFP_CA", "TALLY_METER_TOKEN_FILE", "TALLY_METER_CA", "TALLY_MACHINES",
)  # fmt: skip
_SECONDS = 4.0
_TRIED = 3  # addresses of a Service


@dataclass
class _Found:
    """What is known by now.

    Attributes:
        cluster: the kubeconfig's.
        environment: of whoever connects.
        settings: that will be kept.
    """

    cluster: Cluster
    environment: Mapping[str, str]
    settings: dict[str, str]

    @property
    def all(self) -> dict[str, str]:
        """The environment as commands will have it."""
        return {**self.environment, **self.settings}


def findings(
    life_seconds: int, meter_url: str = "", environment: Mapping[str, str] = os.environ
) -> Iterator[Finding]:
    """Look, try, and keep what was found.

    Args:
        life_seconds: of the token for the meter.
        meter_url: the meter as this machine reaches it, where no address of its Service does.
        environment: what it says is kept as it is.

    Raises:
        SpecError: a setting that is given cannot be right. RunError: there is no kubeconfig, or no
            answer of its cluster.
    """
    given = _given(environment, meter_url)
    _require_right(given)
    found = _Found(Cluster(), environment, given)
    try:
        yield version(found.cluster)
    except Refused as error:
        if error.status != 403:
            raise
    yield from _kubeflow(found)
    yield from _meter(found, life_seconds)
    if "TALLY_MACHINES" not in found.settings:
        namespace = Settings(host="", namespace=found.settings.get("KFP_NAMESPACE", ""))
        finding, folder = sharedmachines.brought(found.cluster, namespace.pods_namespace)
        found.settings |= {"TALLY_MACHINES": str(folder)} if folder else {}
        yield finding
    yield from looked(doctor_store.checks(found.cluster, found.all))
    connected.keep(connected.Connection(found.settings, current_context().name))
    yield Finding("connection", True, f"kept in {connected.file()}", "")


def _given(environment: Mapping[str, str], meter_url: str) -> dict[str, str]:
    """What the environment says; files by paths that hold from every folder."""
    given = {n: environment[n].strip() for n in connected.NAMES if environment.get(n, "").strip()}
    if host := given.get("KFP_HOST"):
        given["KFP_HOST"] = host.rstrip("/")
    given |= {name: str(Path(given[name]).absolute()) for name in _FILES if name in given}
    if paths := given.get("KUBECONFIG"):
        whole = (str(Path(path).absolute()) for path in paths.split(os.pathsep))
        given["KUBECONFIG"] = os.pathsep.join(whole)
    if meter_url:
        given["TALLY_METER_URL"] = meter_url.strip()
    return given


def _require_right(given: Mapping[str, str]) -> None:
    """Refuse what those refuse who will read it: an address with a password in it would be kept."""
    settings(given)
    http_of({"TALLY_METER_TOKEN_FILE": "not read", **given})
    placement(given)


def _kubeflow(found: _Found) -> Iterator[Finding]:
    if "KFP_HOST" not in found.settings:
        ui = _service(found.cluster, _UI)
        if ui is None:
            remedy = "install Kubeflow Pipelines, or make connect KFP_HOST=its address"
            others = _elsewhere(found.cluster, f"app={_UI}", _UI)
            yield Finding("Kubeflow Pipelines", False, f"no Service {_UI}{others}", remedy)
            return
        tried = services.outside(found.cluster, ui)[:_TRIED]
        host = next(filter(_is_kubeflow, tried), "")
        if not host:
            yield _not_reached("Kubeflow Pipelines", ui, tried, _UI_PORT, "KFP_HOST")
            return
        found.settings["KFP_HOST"] = host
    if found.environment.get("KFP_TOKEN", "").strip():
        remedy = "write it to a file and set KFP_TOKEN_FILE, or set KFP_TOKEN each time"
        yield Finding("KFP_TOKEN", False, "a secret, which is not kept", remedy, needed=False)
    try:
        several = _has_several_users(found.all)
    except TallyError:
        pass  # the next look says why
    else:
        where = current_context().namespace if several else Settings(host="").pods_namespace
        if where:
            found.settings.setdefault("KFP_NAMESPACE", where)
    look = Check("Kubeflow Pipelines", lambda: doctor_cluster.kubeflow_pipelines(found.all))
    yield from looked([look])


def _has_several_users(environment: Mapping[str, str]) -> bool:
    there = settings(environment)
    assert there is not None
    return bool(Connection(there).request("GET", "healthz", seconds=_SECONDS).get("multi_user"))


def _is_kubeflow(url: str) -> bool:
    """Whether the API answers there, if only to ask for a token: one that was found gets none."""
    try:
        Connection(Settings(host=url)).request("GET", "healthz", seconds=_SECONDS, repeat=False)
    except ApiRefused as error:
        return error.status in (401, 403)
    except (SpecError, RunError):
        return False
    return True


def _meter(found: _Found, life_seconds: int) -> Iterator[Finding]:
    meter = _service(found.cluster, _METER)
    if meter is not None:
        url = found.settings.setdefault("TALLY_POD_METER_URL", services.inside(meter))
        yield Finding("meter's Service", True, f"{_name(meter)}, for pods {url}", "")
    else:
        remedy = "make deploy OVERLAY=kubeflow, or let an administrator run connect"
        needed = "TALLY_POD_METER_URL" not in found.settings
        others = _elsewhere(found.cluster, METER, _METER)
        if others:
            remedy = "if that is yours: make connect METER_URL=… TALLY_POD_METER_URL=…"
        yield Finding("meter's Service", False, f"no Service {_METER}{others}", remedy, needed)
    if "TALLY_METER_URL" not in found.settings:
        if meter is None:
            return
        tried = [services.inside(meter)] if here.in_cluster() else []
        tried = [*tried, *services.outside(found.cluster, meter)][:_TRIED]
        url = next(filter(doctor_services.is_meter, tried), "")
        if not url:
            yield _not_reached("meter", meter, tried, _METER_PORT, "METER_URL")
            return
        found.settings["TALLY_METER_URL"] = url
    if "TALLY_METER_TOKEN_FILE" not in found.settings:
        yield _token(found, life_seconds)
    yield from looked([Check("meter", lambda: doctor_services.meter(found.all))])


def _token(found: _Found, life_seconds: int) -> Finding:
    asked = persontoken.Asked(life_seconds)
    file = persontoken.default_file()
    try:
        whose, token = persontoken.made(found.cluster, asked, found.all)
        persontoken.keep(token, file)
    except TallyError as error:
        return of_error("token", error)
    found.settings["TALLY_METER_TOKEN_FILE"] = str(file)
    words = f"of {whose.namespace}/{whose.name} until {token.ends:%Y-%m-%d %H:%M} UTC, in {file}"
    return Finding("token", True, f"{words}; make token makes the next", "")


def _service(cluster: Cluster, name: str) -> Object | None:
    """The Service in its usual namespace: anybody may have one of that name elsewhere, and would be
    sent tokens."""
    return services.service(cluster, _USUAL[name], name)


def _elsewhere(cluster: Cluster, label: str, name: str) -> str:
    """Those of that name in other namespaces, in words; "" for none."""
    there = [one for one in services.labelled(cluster, label) if one["metadata"]["name"] == name]
    found = ", ".join(sorted(map(_name, there))[:_TRIED])
    return f" in {_USUAL[name]}, but {found}" if found else ""


def _not_reached(what: str, service: Object, tried: list[str], port: int, name: str) -> Finding:
    no = f"none of {', '.join(tried)} answers" if tried else "no address outside the cluster"
    remedy = (
        f"{services.forward(service, port)}, then make connect again with "
        f"{name}=http://127.0.0.1:{port}"
    )
    return Finding(what, False, f"{_name(service)}: {no}", remedy)


def _name(service: Object) -> str:
    return f"{service['metadata']['namespace']}/{service['metadata']['name']}"
