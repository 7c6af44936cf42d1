"""The meter of a step's pod."""

import os

from tally.errors import SpecError
from tally.meterclient import MeterClient
from tally.meterhttp import TokenSource

_VARIABLES = ("TALLY_METER_URL", "TALLY_METER_TOKEN_FILE", "TALLY_METER_CA")
_made: dict[tuple[object, ...], MeterClient] = {}


def required_client() -> MeterClient:
    """The client of the environment; a pod without a projected token asks for one.

    It is the same one each time: with it go a connection that is open and a token that is good.

    Raises:
        SpecError: there is none, or it is set up wrongly.
    """
    given = tuple(map(os.environ.get, _VARIABLES))
    if (client := _made.get(given)) is None:
        client = MeterClient.from_environment(os.environ, _requested())
        if client is None:
            raise SpecError("TALLY_METER_URL: expected the meter's address, got none; set it")
        _made[given] = client
    return client


def _requested() -> TokenSource | None:
    if os.environ.get("TALLY_METER_TOKEN_FILE"):
        return None
    from tally.kube.metertoken import RequestedToken

    return RequestedToken()
