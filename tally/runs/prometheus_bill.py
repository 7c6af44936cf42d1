"""A run's bill out of Prometheus: the meter's counters as they were scraped, a second way to the
figure that the ledger gives.

What counts is what the last scrape that had the run said: a counter is whole whenever it is read
(rate and increase would miss what it had when it was first seen). Of two meters on one ledger the
one that had read it last is believed. What meters said before does not count, however much it was:
what a restarted one calls restart was work to the one before, and the greatest of each would have
it twice.
"""

import json
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import urllib3

from tally.costing.ledger import Ledger
from tally.costing.runs import several
from tally.errors import RunError, SpecError
from tally.reports.chargeback_text import Compared, Comparison, Shown, show_comparison
from tally.runs.bills import bill_of

_METRIC = "tally_cost_usd_total"
_READ_AT = "tally_meter_snapshot_timestamp_seconds"
_LABELS = ("run", "pipeline", "step", "team", "machine_type", "phase")
_RANGE = re.compile(r"(\d+(ms|s|m|h|d|w|y))+")
_TIMEOUT_SECONDS = 30.0
_ZERO = Decimal(0)


def compare(ledger: Ledger, run: str, url: str, within: str, namespace: str = "") -> Shown:
    """A run's bill out of Prometheus, beside the ledger's where that (or the meter) has the run.

    Args:
        run: its whole id, or of a run that the ledger has as much of it as is unique.
        namespace: whose run, "" for the only one of that id.

    Raises:
        SpecError, RunError: as `scraped_usd`.
    """
    kept: dict[tuple[str, str], Decimal] | None = None
    try:
        bill = bill_of(ledger, run, namespace)
    except SpecError:
        run_id = run.strip()
    else:
        run_id = bill.run_id
        kept = {(line.step, line.phase): line.usd for line in bill.lines}
    scraped = scraped_usd(url, run_id, within, namespace)
    rows = [
        Compared(
            step,
            phase,
            prometheus_usd=scraped.get((step, phase), _ZERO),
            ledger_usd=None if kept is None else kept.get((step, phase), _ZERO),
        )
        for step, phase in dict.fromkeys([*(kept or ()), *sorted(scraped)])
    ]
    return show_comparison(Comparison(run_id, tuple(rows)))


def scraped_usd(
    url: str, run_id: str, within: str, namespace: str = ""
) -> dict[tuple[str, str], Decimal]:
    """What a run's steps and phases had cost when last scraped: hardware and software.

    Args:
        url: of Prometheus, as http://prometheus:9090.
        run_id: the whole id.
        within: how far back to look, as Prometheus writes durations ("30d", "1h30m"); some of the
            hour after the run's end must lie in it.
        namespace: whose run, which the meter calls its team; "" for the only one of that id.

    Raises:
        SpecError: a bad URL or range, no such run, several, or a range in which there is nothing of
            it.
        RunError: Prometheus does not answer, or with an error.
    """
    _check(url, within)
    whose = f", team={_quoted(namespace)}" if namespace else ""
    series = f"{_METRIC}{{run={_quoted(run_id)}{whose}}}"
    there = f"group({series}) * time()"
    last = _ask(url, "query", {"query": f"{there} or max_over_time(({there})[{within}:15s])"})
    if not last["result"]:
        raise _no_scrape(url, run_id, series, within)
    believed = f"topk(1, {_READ_AT} and on (instance) {series})"
    query = f"max by ({', '.join(_LABELS)}) ({series} and on (instance) {believed})"
    at = last["result"][0]["value"][1]
    found = _ask(url, "query", {"query": query, "time": at})["result"]
    if len(teams := {str(one["metric"].get("team", "")) for one in found}) > 1:
        raise several(run_id, teams)
    sums: dict[tuple[str, str], Decimal] = {}
    for one in found:
        key = one["metric"].get("step", ""), one["metric"]["phase"]
        sums[key] = sums.get(key, _ZERO) + Decimal(one["value"][1])
    return sums


def _no_scrape(url: str, run_id: str, series: str, within: str) -> SpecError:
    if _ask(url, "series", {"match[]": series}):
        return SpecError(
            f"RANGE: expected one that reaches back to when {_quoted(run_id)} was scraped, got "
            f"{within}; pass a longer one, as RANGE=90d"
        )
    return SpecError(
        f"run: expected one that Prometheus at {url} has scraped, got {_quoted(run_id)}; pass its "
        "whole id, or leave --from-prometheus out: the ledger keeps runs for longer"
    )


def _check(url: str, within: str) -> None:
    if not _RANGE.fullmatch(within):
        raise SpecError(
            f'RANGE: expected a duration like 30d or 1h30m, got "{within}"; pass RANGE=30d'
        )
    if not re.fullmatch(r"https?://[^\s/]+\S*", url):
        raise SpecError(
            f'TALLY_PROMETHEUS: expected a URL like http://prometheus:9090, got "{url}"; correct it'
        )


def _quoted(text: str) -> str:
    """A label's value in PromQL."""
    return json.dumps(text, ensure_ascii=False)


def _ask(url: str, what: str, fields: Mapping[str, str]) -> Any:
    """The data of one answer of Prometheus's HTTP API."""
    where = f"{url.rstrip('/')}/api/v1/{what}"
    try:
        with urllib3.PoolManager(retries=False, timeout=_TIMEOUT_SECONDS) as pool:
            answer = pool.request("POST", where, fields=dict(fields), encode_multipart=False)
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise RunError(
            f"TALLY_PROMETHEUS: expected Prometheus at {url}, got no answer ({error}); start it, "
            "correct the URL, or forward its port with kubectl"
        ) from error
    try:
        told = json.loads(answer.data)
        data, said = told.get("data"), told.get("error")
    except (ValueError, AttributeError):
        data, said = None, "something else than JSON"
    if answer.status != 200 or data is None:
        raise RunError(
            f"TALLY_PROMETHEUS: expected Prometheus's answer from {where}, got HTTP "
            f"{answer.status} ({said}); correct the URL, or see what Prometheus logs"
        )
    return data
