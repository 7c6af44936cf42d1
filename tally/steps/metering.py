"""The meter of a step's pod."""

import os

from tally.errors import SpecError
from tally.kube.here import is_here
from tally.meterclient import MeterClient
from tally.meterhttp import TokenSource


def required_client() -> MeterClient:
    """The client of the environment; a pod without a projected token asks for one.

    Raises:
        SpecError: there is none, or it is set up wrongly.
    """
    client = MeterClient.from_environment(os.environ, _requested())
    if client is None:
        raise SpecError("TALLY_METER_URL: expected the meter's address, got none; set it")
    return client


def _requested() -> TokenSource | None:
    if not is_here() or os.environ.get("TALLY_METER_TOKEN_FILE"):
        return None
    from tally.kube.metertoken import RequestedToken

    return RequestedToken()
