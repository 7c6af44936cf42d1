"""Requests to the API of Kubeflow Pipelines: repeated where that helps, refused in one line.

    connection = connect()                         # of KFP_HOST; RunError or SpecError in seconds
    run = connection.request("GET", f"runs/{run_id}")
    connection.request("POST", "recurringruns", {"display_name": …})
    for one in connection.pages("recurringruns", "recurringRuns", {"namespace": …}): …

Errors are refusals.py's: ApiRefused (4xx, with .status and .words), ApiFailed (5xx or no answer).

Paths are below /apis/v2beta1/. Answers are the server's JSON as it came: for a run of 200 steps
kfp_server_api's models take 0.4 s of CPU each second to parse six dates a row, plain JSON 3 ms.
"""

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import kfp_server_api
import urllib3
from kfp_server_api.rest import RESTClientObject

from tally.errors import SpecError
from tally.runs.kubeflow.refusals import ApiFailed, ApiRefused, refused, unanswered
from tally.runs.kubeflow.settings import Settings, settings

API = "/apis/v2beta1/"
FIRST_SECONDS = 6.0
_CONNECT_SECONDS = 3.0
_PAUSE_SECONDS = (0.2, 2.0)  # between attempts: the first and the longest
_LARGEST_BYTES = 256 << 20
_PAGE = "200"


@dataclass
class Connection:
    """One installation; safe beside threads.

    Attributes:
        settings: host, namespace, credentials.
        multi_user: whether experiments, runs and schedules belong to profiles: then requests that
            list or create them must carry `namespace`, which is "" on a single-user installation.
    """

    settings: Settings
    multi_user: bool = False
    _rest: Any = field(init=False, repr=False)

    def __post_init__(self) -> None:
        configuration = kfp_server_api.Configuration(host=self.settings.host)
        configuration.ssl_ca_cert = self.settings.ca
        configuration.retries = False  # neither repeated nor redirected behind our back
        self._rest = RESTClientObject(configuration)

    @property
    def namespace(self) -> str:
        """What requests carry as namespace."""
        return self.settings.namespace if self.multi_user else ""

    def request(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        query: Mapping[str, str] | None = None,
        upload: bytes | None = None,
        what: str = "",
        seconds: float = 20.0,
        repeat: bool = True,
    ) -> dict[str, Any]:
        """The answer to one request, asked again while there is none and time is left.

        Args:
            method: "GET", "POST", "DELETE".
            path: below /apis/v2beta1/.
            body: JSON.
            query: of the address; empty values are left out.
            upload: the form's uploadfile, instead of a body.
            what: is wanted, for error lines: "create the run".
            seconds: for all attempts together.
            repeat: False asks once (but for credentials that were read again): for what must not
                happen twice.

        Raises:
            ApiRefused: 4xx. ApiFailed: 5xx, or no answer in time.
            SpecError: no token, an unknown certificate, or another server answers.
        """
        what = what or f"{method} {path}"
        deadline = time.monotonic() + seconds
        pause, longest = _PAUSE_SECONDS
        renewed = False
        while True:
            try:
                return self._once(method, path, body, query, upload, what, deadline)
            except ApiRefused as error:
                if error.status != 401 or renewed:
                    raise
                renewed = True  # the token may have been replaced since it was read
            except ApiFailed:
                if not repeat or time.monotonic() + pause > deadline:
                    raise
                time.sleep(pause)
                pause = min(2 * pause, longest)

    def pages(
        self,
        path: str,
        name: str,
        query: Mapping[str, str] | None = None,
        *,
        what: str = "",
        seconds: float = 20.0,
    ) -> Iterator[dict[str, Any]]:
        """All rows of a list, page by page.

        Args:
            path, query: of the list; page_size is 200 unless told.
            name: of the rows in an answer: "runs", "pipeline_versions", "recurringRuns".
            what: is wanted, for error lines.
            seconds: for each page.

        Raises:
            As request.
        """
        token = ""
        while True:
            asked = {"page_size": _PAGE, **(query or {}), "page_token": token}
            answer = self.request("GET", path, query=asked, what=what, seconds=seconds)
            yield from answer.get(name) or []
            token = str(answer.get("next_page_token") or "")
            if not token:
                return

    def text(self, path: str, *, seconds: float = 10.0) -> str:
        """A plain text answer, its path from the root: a pod's log.

        Raises:
            As request, of one attempt.
        """
        data = self._send("GET", path, None, None, None, f"GET {path}", time.monotonic() + seconds)
        return data.decode("utf-8", "replace")

    def run_link(self, run_id: str) -> str:
        """The run's page in Kubeflow's UI."""
        ui = self.settings.ui or self.settings.host
        return f"{ui}/#/runs/details/{quote(run_id, safe='')}"

    def _once(self, method: str, path: str, body: Mapping[str, Any] | None,
              query: Mapping[str, str] | None, upload: bytes | None, what: str,
              deadline: float) -> dict[str, Any]:  # fmt: skip
        data = self._send(method, API + path, body, query, upload, what, deadline)
        try:
            answer = json.loads(data or b"{}")
        except ValueError as error:
            raise SpecError(
                "KFP_HOST: expected the address of a Kubeflow Pipelines API, got "
                f"{self.settings.host}, which answers otherwise; correct it "
                "(behind Kubeflow's dashboard it ends in /pipeline), or renew the token"
            ) from error
        return answer if isinstance(answer, dict) else {}

    def _send(self, method: str, path: str, body: Mapping[str, Any] | None,
              query: Mapping[str, str] | None, upload: bytes | None, what: str,
              deadline: float) -> bytes:  # fmt: skip
        token = self.settings.token()
        headers = {"Accept": "application/json"}
        headers["Content-Type"] = "multipart/form-data" if upload else "application/json"
        form = [("uploadfile", ("pipeline.yaml", upload, "application/octet-stream"))]
        if token:
            headers["Authorization"] = f"Bearer {token}"
        left = max(0.1, deadline - time.monotonic())
        try:
            # not ApiClient.call_api: it breaks on a certificate that is refused (no body to decode)
            response = self._rest.request(
                method, f"{self.settings.host}{path}", headers=headers, body=body,
                query_params=[pair for pair in (query or {}).items() if pair[1]],
                post_params=form if upload else None, _preload_content=False,
                _request_timeout=(min(left, _CONNECT_SECONDS), left),
            )  # fmt: skip
            return _body(response, deadline)
        except kfp_server_api.ApiException as error:
            raise refused(self.settings.host, what, error) from None
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise unanswered(self.settings.host, what, error) from error


def connect(wanted: Settings | None = None) -> Connection:
    """A connection whose server has answered; within seconds, else an error.

    Args:
        wanted: where and as whom; the environment's without.

    Raises:
        SpecError: KFP_HOST is not set or wrong, nobody answers there, the token is refused, a
            namespace is missing.
        ApiFailed: the server answers 5xx.
    """
    found = wanted or settings()
    if found is None:
        raise SpecError(
            "KFP_HOST: expected the address of Kubeflow Pipelines for ENGINE=cluster, got none; "
            "set it, or pass ENGINE=local"
        )
    connection = Connection(found)
    what = f"reach {found.host}"
    try:
        health = connection.request("GET", "healthz", what=what, seconds=FIRST_SECONDS)
    except ApiFailed as error:
        if error.status:
            raise
        raise SpecError(
            f"KFP_HOST: expected Kubeflow Pipelines at {found.host}, got no answer "
            f"({error.words}); correct it, or look whether the server runs"
        ) from error
    connection.multi_user = bool(health.get("multi_user"))
    if connection.multi_user and not found.namespace:
        raise SpecError(
            "KFP_NAMESPACE: expected your profile's namespace, since this installation has "
            "several users, got none; set it"
        )
    return connection


def _body(response: Any, deadline: float) -> bytes:
    """All of an answer, however slowly it drips, until the deadline."""
    data = bytearray()
    try:
        while chunk := response.read1(1 << 16, decode_content=True):
            data += chunk
            if len(data) > _LARGEST_BYTES or time.monotonic() > deadline:
                raise urllib3.exceptions.HTTPError("an answer too large or too slow")
    except BaseException:
        response.close()
        raise
    response.release_conn()
    return bytes(data)
