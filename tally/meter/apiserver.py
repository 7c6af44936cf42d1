"""The API server, for the meter: few requests, each with its own time limit; none blocks."""

import contextlib
import json
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, Self

import aiohttp
import kopf

from tally.errors import RunError
from tally.kube.template import Object
from tally.meter.credentials import login

_METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_RENEW_SECONDS = 60.0  # a service account's token is another one every hour


class Unanswered(RunError):
    """The API server refused, or gave no answer.

    Attributes:
        status: HTTP's; 0 where no answer came.
    """

    def __init__(self, what: str, status: int, words: str) -> None:
        super().__init__(
            f"Kubernetes: expected to {what}, got {status or 'no answer'} ({words}); "
            + ("look at the meter's ClusterRole" if status in (401, 403) else "look at the cluster")
        )
        self.status = status


@dataclass(frozen=True)
class Answer:
    """What came back.

    Attributes:
        body: the object.
        date_seconds: the server's clock when it answered, cut to whole seconds; None if unsaid.
        sent_seconds, received_seconds: on the monotonic clock.
    """

    body: Any
    date_seconds: int | None
    sent_seconds: float
    received_seconds: float


@dataclass
class ApiServer:
    """One session with it; a context manager."""

    _session: aiohttp.ClientSession | None = None
    _context: ssl.SSLContext | None = None
    _login: kopf.ConnectionInfo | None = None
    _renewed_seconds: float = field(default=-_RENEW_SECONDS)

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession()
        return self

    async def __aexit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        if self._session:
            await self._session.close()

    async def get(
        self,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        seconds: float = 10.0,
        metadata_only: bool = False,
    ) -> Answer:
        """The object at a path, without the leading slash.

        Args:
            path: of an object or a list.
            query: of the address.
            seconds: for the whole answer.
            metadata_only: of a list: nothing but each object's metadata.

        Raises:
            Unanswered: it was refused, or not answered in time.
        """
        accept = _METADATA if metadata_only else "application/json"
        return await self._request("GET", path, seconds, accept, query=query)

    async def send(
        self,
        method: str,
        path: str,
        body: Any,
        *,
        content: str = "application/json",
        seconds: float = 10.0,
    ) -> Answer:
        """The answer to a request with a body.

        Raises:
            Unanswered: it was refused, or not answered in time.
        """
        accept = "application/json"
        data = json.dumps(body)
        return await self._request(method, path, seconds, accept, data=data, content=content)

    async def watch(
        self, path: str, version: str, *, seconds: int
    ) -> AsyncIterator[tuple[str, Object]]:
        """Changes of the objects of a list, small ones: what happened, the object.

        Args:
            path: of the list.
            version: the resourceVersion to go on from.
            seconds: after which it ends.

        Raises:
            Unanswered: it was refused, broke off, or the version is too old.
        """
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(seconds),
        }
        accept = "application/json"
        async with self._response("GET", path, seconds + 10.0, accept, query=query) as response:
            async for line in response.content:
                event = json.loads(line)
                if event["type"] == "ERROR":
                    status = event["object"]
                    words = str(status.get("message") or "")
                    raise Unanswered(f"watch {path}", int(status.get("code") or 0), words)
                yield event["type"], event["object"]

    async def _request(
        self,
        method: str,
        path: str,
        seconds: float,
        accept: str,
        *,
        query: Mapping[str, str] | None = None,
        data: str | None = None,
        content: str = "",
    ) -> Answer:
        sent = time.monotonic()
        request = self._response(
            method, path, seconds, accept, query=query, data=data, content=content
        )
        async with request as response:
            received = time.monotonic()
            text = await response.read()
            body = json.loads(text) if text else {}
            return Answer(body, _date(response.headers.get("Date")), sent, received)

    @contextlib.asynccontextmanager
    async def _response(
        self,
        method: str,
        path: str,
        seconds: float,
        accept: str,
        *,
        query: Mapping[str, str] | None = None,
        data: str | None = None,
        content: str = "",
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Whatever goes wrong inside is Unanswered."""
        if self._session is None:
            raise RuntimeError("the session is not open")
        login = self._current_login()
        headers = {"Accept": accept, **login.as_http_headers()}
        if content:
            headers["Content-Type"] = content
        try:
            async with self._session.request(
                method,
                f"{login.server}/{path}",
                params=query,
                data=data,
                headers=headers,
                ssl=self._context or True,
                timeout=aiohttp.ClientTimeout(total=seconds),
            ) as response:
                if response.status >= 400:
                    words = _words(await response.read())
                    raise Unanswered(f"{method} {path}", response.status, words)
                yield response
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            words = " ".join(str(error).split())[:200] or type(error).__name__
            raise Unanswered(f"{method} {path}", 0, words) from error

    def _current_login(self) -> kopf.ConnectionInfo:
        now = time.monotonic()
        if self._login is None or now - self._renewed_seconds > _RENEW_SECONDS:
            self._login, self._renewed_seconds = login(), now
            if self._context is None and self._login.server.startswith("https"):
                self._context = self._login.as_ssl_context()
        return self._login


def _date(header: str | None) -> int | None:
    try:
        return int(parsedate_to_datetime(header or "").timestamp())
    except ValueError:
        return None


def _words(text: bytes) -> str:
    """The API server's own words for why it refused."""
    try:
        return str(json.loads(text).get("message") or "refused")[:300]
    except (ValueError, AttributeError):
        return text.decode(errors="replace")[:200] or "refused"
