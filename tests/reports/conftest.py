"""One browser for all pages: a fresh one costs half a second."""

from collections.abc import Iterator

import pytest

from helpers.browser import Browser, chromium


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Tests that take it carry the marker program("chromium")."""
    with chromium(tmp_path_factory.mktemp("chromium") / "profile") as one:
        yield one
