"""A real PostgreSQL for the tests that ask for it: one server, an empty database for each test."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from helpers.costing import postgresql


@pytest.fixture(scope="session")
def running_postgresql() -> Iterator["postgresql.Server"]:
    from helpers.costing import postgresql  # here: other tests need neither it nor its driver

    if not postgresql.installed():  # Debian has folders of that name for clients alone, too
        pytest.skip("PostgreSQL's server is missing: make test-deps (Debian, root)")
    with postgresql.server() as running:
        yield running


@pytest.fixture
def server(running_postgresql: "postgresql.Server") -> "postgresql.Server":
    """It answers, whatever the test before did to it."""
    running_postgresql.ensure()
    return running_postgresql


@pytest.fixture
def url(server: "postgresql.Server", monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty database, which is also this test's and its processes' ledger."""
    made = server.database()
    monkeypatch.setenv("TALLY_LEDGER_URL", made)
    return made
