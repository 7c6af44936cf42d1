"""The meter's HTTP server: /v1 by token, /metrics by token or open, /healthz for anybody.

    TALLY_METER_READERS        namespaces, by commas, whose service accounts read everything
    TALLY_METER_METRICS_OPEN   1: /metrics asks for no token; a NetworkPolicy should

All three are on one port. /healthz says what is wrong with the meter and nothing of anybody's runs.
It answers 503 for as long as there is a problem, a full disk for instance, which a restart does not
cure: no liveness probe should ask it. /metrics tells every namespace's cost: its token is of the
meter's own namespace or a reader's. Prometheus has such a token projected into its pod.
"""

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping

from aiohttp import web

from tally.costing.ledger import Ledger
from tally.errors import SpecError
from tally.meter import api
from tally.meter.access import SERVED, Access, Served, caller_of
from tally.meter.answers import WIRE_LOG, answer, in_words
from tally.meter.apiserver import ApiServer
from tally.meter.blocking import Blocking
from tally.meter.bodies import LARGEST_BYTES
from tally.meter.health import Health
from tally.meter.identity import Identity, Review
from tally.meter.permission import Permission
from tally.meter.rates import Rates
from tally.meter.refusal import Refusal

IDLE_SECONDS = 20.0
"""A connection that sends no whole request for so long is closed."""

_LINGERING_SECONDS = 1.0  # for the rest of a body that nobody reads
_REVIEWS = {
    "TokenReview": "apis/authentication.k8s.io/v1/tokenreviews",
    "SubjectAccessReview": "apis/authorization.k8s.io/v1/subjectaccessreviews",
}
_REVIEW_SECONDS = 5.0
_HEALTH = web.AppKey("health", Health)
_METRICS: web.AppKey[Callable[[], bytes]] = web.AppKey("metrics")


def make_app(
    ledger: Ledger,
    review: Review,
    health: Health,
    metrics: Callable[[], bytes],
    access: Access,
    now_microseconds: Callable[[], int],
    *,
    rates: Rates | None = None,
    blocking: Blocking | None = None,
) -> web.Application:
    """The application, for `serving`.

    Args:
        ledger: read and written from threads.
        review: see `review_by`.
        health: what /healthz says.
        metrics: the text of /metrics, made beforehand: it must not block.
        access: who reads what.
        now_microseconds: the cluster's time, UTC.
        rates: what each namespace may post; the usual where None.
        blocking: threads for the ledger; the usual number where None.
    """
    app = web.Application(middlewares=[in_words], client_max_size=LARGEST_BYTES)
    identity, permission = Identity(review), Permission(review, health)
    served = Served(
        ledger,
        identity,
        permission,
        access,
        now_microseconds,
        rates=rates or Rates(),
        blocking=blocking or Blocking(),
    )
    app[SERVED], app[_HEALTH], app[_METRICS] = served, health, metrics
    app.add_routes([web.get("/healthz", _healthz), web.get("/metrics", _metrics), *api.routes()])

    async def end(_: web.Application) -> None:
        served.blocking.close()

    app.on_cleanup.append(end)
    return app


@contextlib.asynccontextmanager
async def serving(app: web.Application, host: str, port: int) -> AsyncIterator[int]:
    """Serve inside this block.

    Args:
        app: of `make_app`.
        host: the pod's address, or "127.0.0.1", or several by commas.
        port: 0 for one that is free.

    Yields:
        The port.
    """
    runner = web.AppRunner(
        app,
        access_log=None,  # it would write down whatever strangers send; see in_words
        logger=WIRE_LOG,
        keepalive_timeout=IDLE_SECONDS,
        lingering_time=_LINGERING_SECONDS,
        auto_decompress=False,  # a small body must not become a large one
        shutdown_timeout=2.0,
    )
    await runner.setup()
    try:
        for one in host.split(","):
            await web.TCPSite(runner, one, port).start()
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()


def review_by(server: ApiServer) -> Review:
    """TokenReviews and SubjectAccessReviews by this API server; the meter's account needs `create`
    of both."""

    async def review(body: api.Json) -> api.Json:
        path = _REVIEWS[body["kind"]]
        return dict((await server.send("POST", path, body, seconds=_REVIEW_SECONDS)).body)

    return review


def access_of(environment: Mapping[str, str], own_namespace: str) -> Access:
    """Who reads what, as the meter's environment says.

    Raises:
        SpecError: TALLY_METER_METRICS_OPEN is neither 0 nor 1.
    """
    given = environment.get("TALLY_METER_METRICS_OPEN", "")
    if given not in ("", "0", "1"):
        raise SpecError(f"TALLY_METER_METRICS_OPEN: expected 0 or 1, got {given}; correct it")
    names = environment.get("TALLY_METER_READERS", "").replace(",", " ").split()
    return Access(own_namespace, frozenset(names), given == "1")


async def _healthz(request: web.Request) -> web.Response:
    health = request.app[_HEALTH]
    problems, notices = health.problems(), health.notices()
    status = "failing" if problems else "ok"
    said = answer(request, status=status, problems=problems, notices=notices)
    said.set_status(503 if problems else 200)
    return said


async def _metrics(request: web.Request) -> web.Response:
    access = request.app[SERVED].access
    if not access.metrics_open and not access.reads_all(await caller_of(request)):
        raise Refusal(
            403, "/metrics: expected a token of the meter's namespace or a reader's, got another's"
        )
    headers = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
    return web.Response(body=request.app[_METRICS](), headers=headers)
