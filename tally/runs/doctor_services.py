"""What doctor looks at beside a cluster: the meter, Prometheus, the store, each where it is set."""

import json
import os
import re
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import urllib3

from tally.buckets import kept
from tally.errors import RunError, SpecError
from tally.meterhttp import http_of
from tally.runs.finding import Check, Finding, of_error
from tally.runs.kubeflow.words import plain
from tally.storage import location

_METER_JOB = "tally-meter"  # of manifests/prometheus/prometheus.yaml
_SECONDS = 4.0
_LARGEST_BYTES = 1 << 20
# where the clouds' own libraries find credentials, besides the machine itself
_S3_VARIABLES = ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE")
_GS_VARIABLES = ("GOOGLE_APPLICATION_CREDENTIALS", "STORAGE_EMULATOR_HOST")
_S3_FILE, _GS_FILE = ".aws/credentials", ".config/gcloud/application_default_credentials.json"


def checks(environment: Mapping[str, str]) -> list[Check]:
    """What to look at, of what the environment names."""
    found = []
    if environment.get("TALLY_METER_URL", "").strip():
        found.append(Check("meter", lambda: meter(environment)))
    if environment.get("TALLY_PROMETHEUS", "").strip():
        found.append(Check("Prometheus", lambda: prometheus(environment)))
    if environment.get("TALLY_STORE", "").strip():
        found.append(Check("store", lambda: store(environment)))
    return found


def meter(environment: Mapping[str, str]) -> Iterator[Finding]:
    """Whether the meter of TALLY_METER_URL answers, is well, and takes the token."""
    url = environment["TALLY_METER_URL"].strip().rstrip("/")
    remedy = "correct TALLY_METER_URL, or kubectl port-forward -n tally service/tally-meter 8080"
    try:
        status, said = _asked(f"{url}/healthz", environment.get("TALLY_METER_CA"))
        problems = [str(one) for one in said["problems"]] or (["failing"] if status != 200 else [])
    except (*_NO_ANSWER, KeyError, TypeError) as error:
        yield Finding("meter", False, f"{_shown(url)}/healthz: {_why(error)}", remedy)
        return
    found = f"{_shown(url)} is well"
    if problems:
        found = f"{_shown(url)} says {'; '.join(problems)[:500]}"
    yield Finding("meter", not problems, found, "see its log")
    try:
        http = http_of(environment)
        if http is not None:
            http.answer("GET", "v1/runs?limit=1&bills=0", None, "runs", _SECONDS)
    except (SpecError, RunError) as error:
        yield of_error("meter's token", error, needed=False)
    else:
        yield Finding("meter's token", True, "taken", "")


def is_meter(url: str) -> bool:
    """Whether a meter answers at this address, well or not."""
    try:
        _, said = _asked(f"{url}/healthz")
        return "problems" in said
    except (*_NO_ANSWER, TypeError):
        return False


def is_meter_well(environment: Mapping[str, str]) -> bool:
    """Whether there is a meter at TALLY_METER_URL that says it is well."""
    url = environment.get("TALLY_METER_URL", "").strip().rstrip("/")
    try:
        return bool(url) and _asked(f"{url}/healthz", environment.get("TALLY_METER_CA"))[0] == 200
    except _NO_ANSWER:
        return False


def prometheus(environment: Mapping[str, str]) -> Iterator[Finding]:
    """Whether Prometheus scrapes the meter: `up` of the meter's job."""
    url = environment["TALLY_PROMETHEUS"].strip().rstrip("/")
    try:
        query = f"{url}/api/v1/query?query=up%7Bjob%3D%22{_METER_JOB}%22%7D"
        status, said = _asked(query)
        if status != 200:
            raise urllib3.exceptions.HTTPError(f"HTTP {status}")
        up = {one["metric"].get("instance", ""): one["value"][1] for one in said["data"]["result"]}
    except (*_NO_ANSWER, KeyError, TypeError) as error:
        remedy = "correct TALLY_PROMETHEUS, or forward its port with kubectl"
        yield Finding("Prometheus", False, f"{_shown(url)}: {_why(error)}", remedy)
        return
    down = sorted(name for name, value in up.items() if value != "1")
    if not up:
        found = f"{_shown(url)} has no target of the job {_METER_JOB}"
        remedy = "take over the jobs of manifests/prometheus/prometheus.yaml"
        yield Finding("Prometheus", False, found, remedy)
    elif down:
        found = f"{_shown(url)} cannot scrape the meter at {', '.join(down)}"
        remedy = (
            "its page Status, Targets says why: a network policy, or a token of a namespace that "
            "TALLY_METER_READERS of the meter lacks"
        )
        yield Finding("Prometheus", False, found, remedy)
    else:
        yield Finding("Prometheus", True, f"scrapes the meter at {', '.join(sorted(up))}", "")


def store(environment: Mapping[str, str]) -> Iterator[Finding]:
    """Whether TALLY_STORE can be listed with the credentials that are here."""
    place = location(environment["TALLY_STORE"].strip())
    if isinstance(place, Path):
        if not environment.get("TALLY_STORE_CLAIM", "").strip():  # else it is a path of pods
            good = os.access(place, os.W_OK) or not place.exists()
            remedy = "set TALLY_STORE to a folder that this user can write"
            yield Finding("store", good, f"{place}" + ("" if good else " is read-only"), remedy)
        return
    untried = ""
    if not _has_credentials(place.scheme, environment):
        untried = "there are no credentials here"
    elif (host := _endpoint(place.scheme, environment)) and not _has_address(host):
        untried = f"{host} has no address here"  # it may be a name of the cluster's own
    if untried:
        remedy = "pods have their own way; set credentials and an address of this machine's to try"
        found = f"{place} not tried, as {untried}"
        yield Finding("store", False, found, remedy, needed=False)
        return
    kept.listed(place / "doctor", _SECONDS)  # nothing is there: one request, however full it is
    yield Finding("store", True, f"{place} can be listed", "")


def _endpoint(scheme: str, environment: Mapping[str, str]) -> str:
    """The host of the store's server where one is given."""
    names = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL") if scheme == "s3" else _GS_VARIABLES[1:]
    try:
        return urlsplit(next(filter(None, map(environment.get, names)), "")).hostname or ""
    except ValueError:
        return ""  # the store's own words say what is wrong with it


def _has_address(host: str) -> bool:
    try:
        return bool(socket.getaddrinfo(host, None))
    except OSError:
        return False


def _has_credentials(scheme: str, environment: Mapping[str, str]) -> bool:
    variables, file = (
        (_S3_VARIABLES, _S3_FILE) if scheme == "s3" else (_GS_VARIABLES, _GS_FILE)
    )  # fmt: skip
    home = Path(environment.get("HOME", "/"))
    return any(environment.get(name) for name in variables) or (home / file).is_file()


_NO_ANSWER = (urllib3.exceptions.HTTPError, OSError, ValueError)


def _asked(url: str, certificates: str | None = None) -> tuple[int, Any]:
    """Status and JSON of one GET."""
    timeout = urllib3.Timeout(total=_SECONDS)
    with urllib3.PoolManager(retries=False, timeout=timeout, ca_certs=certificates or None) as pool:
        response = pool.request("GET", url, redirect=False, preload_content=False)
        try:
            return response.status, json.loads(response.read(_LARGEST_BYTES))
        finally:
            response.close()


def _why(error: Exception) -> str:
    if not isinstance(error, urllib3.exceptions.HTTPError | OSError):
        return "another server's answer"
    return _shown(plain(str(error))) or type(error).__name__


def _shown(url: str) -> str:
    """The address without user:password, which are a secret."""
    return re.sub(r"//[^/]*@", "//…@", url)
