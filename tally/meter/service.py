"""The meter as a service: what it waits for in the beginning, its loops, its end.

TALLY_LEDGER_URL     sqlite:////ledger/ledger.db or postgresql://…
TALLY_MACHINES       a file or folder with the cluster's own machine types; read when it changes
TALLY_METER_HOST     the addresses to serve on, by commas; 127.0.0.1 where it is not set
TALLY_METER_PORT     8080
TALLY_KUBELET_TLS    cluster, insecure or a file: see kubelet.trust
TALLY_METER_READERS, TALLY_METER_METRICS_OPEN: see app
TALLY_METER_REAPS: see reaping
"""

import asyncio
import contextlib
import faulthandler
import logging
import os
import signal
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass

from aiohttp import web

from tally.errors import SpecError, TallyError
from tally.kube.cluster import own_namespace
from tally.meter import looking
from tally.meter.apiserver import ApiServer
from tally.meter.app import access_of, make_app, review_by, serving
from tally.meter.clusterclock import ClusterClock
from tally.meter.health import Health
from tally.meter.kubelet import Kubelets
from tally.meter.metering import Meter
from tally.meter.reaping import Reaping, reaps_of
from tally.meter.showing import Showing
from tally.meter.watching import watch
from tally.meter.writing import Unwritten

_log = logging.getLogger("tally.meter")
_TURN_SECONDS = 1.0
_STUCK_SECONDS = 300
_PRICES_SECONDS = 15.0
_AGAIN_SECONDS = 5.0
_LAST_TURN_SECONDS = 3.0

Loop = Callable[[], Awaitable[float]]
"""Does something once; the seconds until the next time."""


@dataclass(frozen=True)
class Settings:
    """What the environment says; see the module."""

    ledger_url: str | None
    host: str
    port: int
    reaps: frozenset[str] | None


def settings_of(environment: Mapping[str, str]) -> Settings:
    """The settings.

    Raises:
        SpecError: TALLY_METER_PORT is no port, or TALLY_METER_REAPS no namespaces.
    """
    port = environment.get("TALLY_METER_PORT") or "8080"
    if not (port.isascii() and port.isdecimal() and int(port) < 65536):
        raise SpecError(f"TALLY_METER_PORT: expected a port, 0 to 65535, got {port}; correct it")
    host = environment.get("TALLY_METER_HOST") or "127.0.0.1"
    url = environment.get("TALLY_LEDGER_URL") or None
    return Settings(url, host, int(port), reaps_of(environment))


async def serve(settings: Settings) -> None:
    """Meter until SIGTERM or SIGINT; then within 5 s write what there is and end.

    Raises:
        SpecError: something in the environment is wrong.
    """
    health, stopped, unwatched = Health(), asyncio.Event(), threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    access = access_of(os.environ, own_namespace())
    async with ApiServer() as api:
        clock = ClusterClock(time.monotonic)
        meter = Meter(api, clock, health, Unwritten(health), settings.ledger_url)
        showing, kubelets = Showing(meter), Kubelets()
        reaping = Reaping(meter, settings.reaps)
        loops = Loops(health, stopped)
        await meter.read_catalogue()  # before anything is written without a price
        loops.start("API server", lambda: looking.clock(meter))
        loops.start("catalogue", lambda: _prices(meter))
        async with _starting(settings, health):
            await _until_open(meter, stopped)
        if stopped.is_set() or meter.ledger is None:
            return
        now = meter.clock.now_microseconds
        app = make_app(meter.ledger, review_by(api), health, showing.text, access, now)
        async with serving(app, settings.host, settings.port) as port:
            _log.info("metering; serving on %s port %d", settings.host, port)
            threading.Thread(
                target=watch, args=(meter.tell, health, unwatched), daemon=True
            ).start()
            loops.start("list", lambda: looking.lists(meter))
            loops.start("leases", lambda: looking.leases(meter))
            loops.start("kubelets", lambda: looking.kubelets(meter, kubelets))
            loops.start("metrics", showing.refresh)
            loops.start("ended runs", reaping.turn)
            turning = loops.start("turn", lambda: _turn(meter))
            await stopped.wait()
            unwatched.set()
            await _end(meter, turning)
            loops.cancel()
    _log.info("ended")


class Loops:
    """Coroutines that are done again and again, whatever one time of one of them comes to."""

    def __init__(self, health: Health, stopped: asyncio.Event) -> None:
        """None runs yet.

        Args:
            health: is told what went wrong, by the loop's name.
            stopped: ends them; what one is doing then goes to its end.
        """
        self._health, self._stopped = health, stopped
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, name: str, loop: Loop) -> asyncio.Task[None]:
        """Do it now and from then on."""
        task = asyncio.create_task(self._go_on(name, loop))
        self._tasks.append(task)
        return task

    def cancel(self) -> None:
        """End them where they are."""
        for task in self._tasks:
            task.cancel()

    async def _go_on(self, name: str, loop: Loop) -> None:
        while not self._stopped.is_set():
            seconds = _AGAIN_SECONDS
            try:
                seconds = await loop()
                self._health.well(name)
            except TallyError as error:
                self._health.problem(name, str(error))
            except Exception as error:  # a defect in one loop must not stop the others
                _log.exception("%s", name)
                words = f"expected to go on, got {type(error).__name__}: {error}"
                self._health.problem(name, words)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopped.wait(), seconds)


async def _turn(meter: Meter) -> float:
    # a service that is stuck is started anew: no probe from outside could tell it from a full disk
    faulthandler.dump_traceback_later(_STUCK_SECONDS, exit=True)
    await meter.turn()
    return _TURN_SECONDS


async def _prices(meter: Meter) -> float:
    await meter.read_catalogue()
    return _PRICES_SECONDS


async def _until_open(meter: Meter, stopped: asyncio.Event) -> None:
    """Wait for the API server and for the ledger, and take up what that has."""
    while not stopped.is_set():
        try:
            if meter.clock.is_known:
                pods, nodes = await looking.uids(meter, "pods"), await looking.uids(meter, "nodes")
                await meter.open(pods, nodes)
                meter.health.well("beginning")
                return
        except TallyError as error:
            _log.warning("%s", error)
            meter.health.problem("beginning", str(error))
        with contextlib.suppress(TimeoutError):
            seconds = _AGAIN_SECONDS if meter.clock.is_known else 0.1
            await asyncio.wait_for(stopped.wait(), seconds)


@contextlib.asynccontextmanager
async def _starting(settings: Settings, health: Health) -> AsyncIterator[None]:
    """Whatever is asked: that it has not begun, and what is waited for; who asks again is right."""

    async def failing(_: web.Request) -> web.Response:
        problems = health.problems() or ["the meter has not begun"]
        said = {"status": "failing", "problems": problems, "error": problems[0]}
        return web.json_response(said, status=503)

    app = web.Application()
    app.add_routes([web.route("*", "/{path:.*}", failing)])
    async with serving(app, settings.host, settings.port):
        yield


async def _end(meter: Meter, turning: "asyncio.Task[None]") -> None:
    """Let the last turn end, then write until when everything is known to have lasted."""
    try:
        async with asyncio.timeout(_LAST_TURN_SECONDS):
            await asyncio.wait([turning])
            for pod in meter.known.pods.values():
                pod.is_due = pod.is_due or not pod.has_ended
            await meter.turn()
    except TimeoutError:
        _log.warning("the ledger did not take the last batch in time")
    except TallyError as error:
        _log.warning("%s", error)
