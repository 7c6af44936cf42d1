"""The meter's API, asked from a pod or from a user's machine; meterhttp.py has its environment.

Posting the same twice counts once.
"""

import json
import os
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self
from urllib.parse import quote as quoted
from urllib.parse import urlencode

from tally.costing import documents
from tally.costing.bill import Bill
from tally.costing.days import Charged
from tally.costing.lives import Life
from tally.costing.quotes import Quote, RunEvent
from tally.costing.runs import RunRecord
from tally.costing.usage import Usage
from tally.errors import SpecError
from tally.meterhttp import MeterHttp, TokenSource, http_of

SECONDS = 10.0
LISTING_SECONDS = 60.0
_SHORTEST = 6  # of a run id's characters that name it
_WHOLE_ID = 36


@dataclass(frozen=True)
class MeterClient:
    """The API at one address; safe beside threads. Every call may raise RunError, the meter did
    not answer in time, or SpecError: it refused, or is set up wrongly.

    Where a namespace is "", the caller's own run of that id is meant, else the only one that the
    caller may see; what is posted is of the caller's own.
    """

    http: MeterHttp

    @classmethod
    def from_environment(
        cls,
        environment: Mapping[str, str] = os.environ,
        without_file: TokenSource | None = None,
    ) -> Self | None:
        """The client that the environment asks for, None without TALLY_METER_URL.

        Args:
            environment: see meterhttp.py.
            without_file: gives the tokens where there is no TALLY_METER_TOKEN_FILE.

        Raises:
            SpecError: TALLY_METER_URL is none of a meter, or nothing gives a token.
        """
        http = http_of(environment, without_file)
        return None if http is None else cls(http)

    def runs(self, since_microseconds: int = 0, limit: int = 1000) -> list[tuple[RunRecord, Bill]]:
        """The newest runs that this account may see, each with its bill."""
        path = f"v1/runs?since={since_microseconds}&limit={limit}"
        found = self.http.answer("GET", path, None, "runs", LISTING_SECONDS)
        return [(documents.run_of(row["run"]), documents.bill_of(row["bill"])) for row in found]

    def lives(
        self, pipeline: str, since_microseconds: int = 0, namespace: str = "",
        *, seconds: float = SECONDS,
    ) -> list[Life]:  # fmt: skip
        """The newest past lives of a pipeline's pods.

        Args:
            pipeline: as pods' labels have it.
            since_microseconds: UTC.
            namespace: whose; "" for the caller's own.
        """
        asked = {"pipeline": pipeline, "namespace": namespace, "since": since_microseconds}
        path = f"v1/lives?{urlencode({name: value for name, value in asked.items() if value})}"
        found = self.http.answer("GET", path, None, "lives", seconds)
        return [documents.life_of(row) for row in found]

    def charged(
        self, since: int = 0, until: int | None = None, run_id: str = "", namespace: str = "",
        *, page_rows: int | None = None,
    ) -> Charged:  # fmt: skip
        """What was charged to those whose runs this account may list, on the days that a time
        touches; whole with nodes where it may read everything.

        Args:
            since, until: microseconds UTC, midnights; None for all that there is.
            run_id: whose charges alone, without nodes; "" for all.
            namespace: of the run.
            page_rows: how many at once; None for as many as the meter gives.
        """
        fixed = {"until": until, "run": run_id, "namespace": namespace, "limit": page_rows}
        found, here = Charged([], []), (since, "")
        while True:
            asked = {"since": here[0], "after": here[1], **fixed}
            query = urlencode({n: value for n, value in asked.items() if value not in (None, "")})
            page = self.http.answer("GET", f"v1/charges?{query}", None, "page", LISTING_SECONDS)
            found.charges.extend(map(documents.charge_of, page["charges"]))
            found.accounts.extend(map(documents.account_of, page["accounts"]))
            if page["next"] is None:
                return replace(found, whole=bool(page["whole"]))
            there = int(page["next"]["since"]), str(page["next"]["after"])
            if there <= here:
                raise SpecError(
                    f"the meter's answer: expected a page after {here}, got one of {there}; "
                    "look at the meter's log"
                )
            here = there

    def find(self, text: str, namespace: str = "") -> str:
        """The id of the one run, of this namespace or of all that the account may see, whose id
        begins or ends with `text`, 6 characters or more of it."""
        wanted = text.strip().lower()
        if len(wanted) >= _WHOLE_ID:
            return wanted
        rows = self._get("v1/runs?limit=1000&bills=0", "runs") if len(wanted) >= _SHORTEST else []
        runs = [documents.run_of(row["run"]) for row in rows]
        ids = {run.id for run in runs if namespace in ("", run.namespace)}
        found = [one for one in ids if one.startswith(wanted) or one.endswith(wanted)]
        if len(found) != 1:
            raise SpecError(
                f"run: expected its id or {_SHORTEST} or more characters of its beginning or end "
                f'that name one run of the meter, got "{text}"; `make runs` lists them'
            )
        return found[0]

    def run(self, run_id: str, namespace: str = "") -> RunRecord:
        """A run's record: what was measured of it, its state as the meter saw it."""
        return documents.run_of(self._get(_path(run_id, "", namespace), "run"))

    def bill(self, run_id: str, namespace: str = "", *, seconds: float = SECONDS) -> Bill:
        """A run's bill."""
        found = self.http.answer("GET", _path(run_id, "bill", namespace), None, "bill", seconds)
        return documents.bill_of(found)

    def quote(self, run_id: str, namespace: str = "") -> Quote | None:
        """A run's newest quote."""
        found = self._get(_path(run_id, "quote", namespace), "quote")
        return None if found is None else documents.quote_of(found)

    def usage(self, run_id: str, namespace: str = "") -> list[Usage]:
        """A run's rows as written, not merged."""
        found = self._get(_path(run_id, "usage", namespace), "usage")
        return [documents.usage_of(row) for row in found]

    def events(
        self,
        run_id: str,
        namespace: str = "",
        *,
        kinds: Sequence[str] = (),
        since_microseconds: int = 0,
    ) -> list[RunEvent]:
        """What happened in a run, in order: of these kinds, or all, at this time (UTC) or later."""
        wanted = {"kinds": ",".join(kinds), "since": since_microseconds}
        found = self._get(_path(run_id, "events", namespace, **wanted), "events")
        return [documents.event_of(row) for row in found]

    def resize(
        self, run_id: str, workers: int, machine_type: str = "", namespace: str = ""
    ) -> None:
        """Ask a run that trains for another number of workers; its conductor hears of it.

        Args:
            workers: how many from now on, up to the run's max_workers.
            machine_type: another one of the catalogue, "" for the one that it has.
        """
        wish = {"workers": workers, "machine_type": machine_type, "wish": uuid.uuid4().hex}
        self._post(_path(run_id, "resize", namespace), {"resize": wish}, "accepted", SECONDS)

    def post_quote(self, quote: Quote, *, seconds: float = SECONDS) -> None:
        """Keep a run's quote."""
        body = {"quote": documents.quote_document(quote)}
        self._post(_path(quote.run_id, "quote"), body, "accepted", seconds)

    def post_usage(
        self, run_id: str, rows: Sequence[Usage], *, seconds: float = SECONDS
    ) -> frozenset[str]:
        """Keep what this run's conductor says of its workers' pods.

        Returns:
            The uids of pods that the meter does not know yet: their rows were not kept.
        """
        body = {"usage": [documents.usage_document(row) for row in rows]}
        return frozenset(self._post(_path(run_id, "usage"), body, "unknown_pods", seconds))

    def post_events(
        self, run_id: str, events: Sequence[RunEvent], *, seconds: float = SECONDS
    ) -> None:
        """Keep what happened in a run."""
        body = {"events": [documents.event_document(event) for event in events]}
        self._post(_path(run_id, "events"), body, "accepted", seconds)

    def _get(self, path: str, name: str) -> Any:
        return self.http.answer("GET", path, None, name, SECONDS)

    def _post(self, path: str, facts: Mapping[str, Any], name: str, seconds: float) -> Any:
        body = json.dumps({"schema": documents.SCHEMA, **facts}, allow_nan=False).encode()
        return self.http.answer("POST", path, body, name, seconds)


def _path(run_id: str, what: str, namespace: str = "", **further: object) -> str:
    asked = {"namespace": namespace, **further}
    query = urlencode({name: value for name, value in asked.items() if value})
    return f"v1/runs/{quoted(run_id, safe='')}{what and '/'}{what}{'?' if query else ''}{query}"
