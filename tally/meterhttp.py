"""One HTTP request to the meter: its token, its time limit, its answer in one line.

    TALLY_METER_URL          http://tally-meter.tally.svc:8080
    TALLY_METER_TOKEN_FILE   a service account's token of audience tally-meter; read for each
                             request, since the kubelet puts another one there from time to time
    TALLY_METER_CA           certificates, where the URL is https and the system's are not enough

What is not answered is asked again until a deadline, and so is what the meter has no room for just
now (429), no sooner than it says. What is refused is not, but that a token which the meter knows no
more is replaced once, where whoever gives tokens has another.
"""

import hashlib
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlsplit

import urllib3

from tally.costing.documents import SCHEMA
from tally.errors import RunError, SpecError, check_schema

AUDIENCE = "tally-meter"  # of the tokens that it takes
_PAUSE_SECONDS = (0.1, 2.0)  # between attempts: the first and the longest
_LONGEST_RETRY_SECONDS = 60  # that an answer may ask for
_CONNECT_SECONDS = 3.0
_LARGEST_BYTES = 64 << 20
_REMEDY = f"`make token` makes one; in a pod, project one of audience {AUDIENCE}"
_TOKEN = re.compile(r"[\x21-\x7e]{1,8192}")


class NoToken(SpecError):
    """There is no token, and asking again would not make one."""


class TokenSource(Protocol):
    """Where the token comes from with which a caller says whose it is."""

    def __call__(self, *, afresh: bool = False) -> str:
        """The token.

        Args:
            afresh: the meter does not take the last one.

        Raises:
            NoToken: there is none. RunError: there may be one later.
        """


@dataclass(frozen=True)
class TokenFile:
    """A file that a kubelet, or whoever looks after it, keeps fresh."""

    path: Path

    def __call__(self, *, afresh: bool = False) -> str:
        """What the file holds by now."""
        try:
            token = self.path.read_text(encoding="ascii").strip()
        except (OSError, ValueError) as error:
            raise NoToken(
                f"TALLY_METER_TOKEN_FILE: expected a file with a token, got {self.path} "
                f"({type(error).__name__}); {_REMEDY}"
            ) from error
        if not _TOKEN.fullmatch(token):
            raise NoToken(
                f"TALLY_METER_TOKEN_FILE: expected one token in {self.path}, got something "
                f"else; {_REMEDY}"
            )
        return token


class MeterRefused(SpecError):
    """The meter answered, and the answer is no.

    Attributes:
        status: HTTP's, 300 to 499.
        retry_seconds: how long to wait before it is asked again; 0 where the meter does not say.
    """

    def __init__(self, status: int, sentence: str, retry_seconds: float = 0.0) -> None:
        super().__init__(sentence)
        self.status, self.retry_seconds = status, retry_seconds


class _Said(NamedTuple):
    """An answer as it came."""

    status: int
    data: bytes
    retry_seconds: float = 0.0


@dataclass(frozen=True)
class MeterHttp:
    """The meter at one address; safe beside threads."""

    url: str
    token: TokenSource
    pool: urllib3.PoolManager

    def answer(self, method: str, path: str, body: bytes | None, name: str, seconds: float) -> Any:
        """What the answer says under this name.

        Args:
            method, path: the path without its leading slash.
            body: JSON with its schema.
            name: of what is wanted in the answer.
            seconds: for all attempts together.

        Raises:
            MeterRefused: the meter says no, or has no room until the deadline (429).
            RunError: it says nothing in time.
            NoToken: there is none. SpecError: whoever answers is no meter of ours.
        """
        deadline = time.monotonic() + seconds
        pause, longest = _PAUSE_SECONDS
        while True:
            try:
                said = self._once(method, path, body, deadline)
                words = f"{said.status} ({_sentence(said.data)})"
            except (urllib3.exceptions.HTTPError, OSError, RunError) as error:
                said = _Said(0, b"")
                words = " ".join(str(error).split())[:200] or type(error).__name__
            if 200 <= said.status < 300:
                return self._read(said.data, name)
            wait = max(pause, said.retry_seconds if said.status == 429 else 0.0)
            late = time.monotonic() + wait > deadline
            if 300 <= said.status < 500 and (said.status != 429 or late):
                raise MeterRefused(said.status, _sentence(said.data), said.retry_seconds)
            if late:
                raise RunError(
                    f"the meter: expected an answer of {self.url} within {seconds:.0f} s, got "
                    f"{words}; look at its /healthz"
                )
            time.sleep(wait)
            pause = min(2 * pause, longest)

    def _once(self, method: str, path: str, body: bytes | None, deadline: float) -> _Said:
        token = self.token()
        said = self._sent(method, path, body, token, deadline)
        if said.status == 401 and (other := self.token(afresh=True)) != token:
            return self._sent(method, path, body, other, deadline)
        return said

    def _sent(
        self, method: str, path: str, body: bytes | None, token: str, deadline: float
    ) -> _Said:
        headers = {
            "Authorization": f"Bearer {token}",
            "Accept": "application/json",
            "Tally-Schema": str(SCHEMA),
        }
        if body is not None:
            headers["Content-Type"] = "application/json"
            headers["Idempotency-Key"] = hashlib.sha256(body).hexdigest()
        left = max(0.05, deadline - time.monotonic())
        timeout = urllib3.Timeout(connect=min(left, _CONNECT_SECONDS), read=left)
        response = self.pool.request(
            method, f"{self.url}/{path}", body=body, headers=headers, timeout=timeout,
            redirect=False, preload_content=False,
        )  # fmt: skip
        data = bytearray()
        try:
            while chunk := response.read1(1 << 16, decode_content=False):  # waits for no more
                data += chunk
                if len(data) > _LARGEST_BYTES or time.monotonic() > deadline:
                    raise urllib3.exceptions.HTTPError("an answer too large or too slow")
        except BaseException:
            response.close()
            raise
        response.release_conn()
        retry_seconds = _retry_seconds(response.headers.get("Retry-After", ""))
        return _Said(response.status, bytes(data), retry_seconds)

    def _read(self, data: bytes, name: str) -> Any:
        try:
            said = json.loads(data)
            check_schema(f"the meter at {self.url}", int(said["schema"]), SCHEMA)
            return said[name]
        except (ValueError, TypeError, KeyError) as error:
            raise SpecError(
                f"TALLY_METER_URL: expected the address of a meter, got {self.url}, which answers "
                "otherwise; correct it"
            ) from error


def http_of(
    environment: Mapping[str, str], without_file: TokenSource | None = None
) -> MeterHttp | None:
    """The meter that the environment names, None without TALLY_METER_URL.

    Args:
        environment: with the variables above.
        without_file: gives the tokens where there is no TALLY_METER_TOKEN_FILE.

    Raises:
        SpecError: TALLY_METER_URL is none of a meter, or nothing gives a token.
    """
    url = environment.get("TALLY_METER_URL", "").strip().rstrip("/")
    if not url:
        return None
    _require_url(url)
    file = environment.get("TALLY_METER_TOKEN_FILE", "")
    token = TokenFile(Path(file)) if file else without_file
    if token is None:
        raise SpecError(
            "TALLY_METER_TOKEN_FILE: expected the file of a service account's token of "
            f"audience {AUDIENCE}, got none; {_REMEDY}"
        )
    certificates = environment.get("TALLY_METER_CA") or None
    if certificates and not Path(certificates).is_file():
        raise SpecError(
            f"TALLY_METER_CA: expected a file of certificates, got {certificates}; correct it"
        )
    pool = urllib3.PoolManager(maxsize=4, retries=False, ca_certs=certificates)
    return MeterHttp(url, token, pool)


def _retry_seconds(given: str) -> float:
    """What a Retry-After says in seconds; one with a date is not the meter's."""
    good = given.isascii() and given.isdecimal() and len(given) < 6
    return float(min(int(given), _LONGEST_RETRY_SECONDS)) if good else 0.0


def _sentence(data: bytes) -> str:
    """Why the meter refused, in its own sentence, on one line."""
    try:
        words = str(json.loads(data)["error"])
    except (ValueError, TypeError, KeyError):
        words = "the meter: expected an answer of its own, got another server's; correct the URL"
    return " ".join(words.split())[:500]


def _require_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    plain = url.isascii() and url.isprintable() and not set(" \t?#@\\") & set(url)
    if not good or not plain:
        shown = re.sub(r"//[^/]*@", "//…@", url)  # user:password is a secret
        raise SpecError(
            "TALLY_METER_URL: expected an address like http://tally-meter.tally.svc:8080, got "
            f"{shown[:100]!a}; correct it"
        )
