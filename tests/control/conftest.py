from collections.abc import Iterator

import pytest
from tests.fakes.databases import address, postgresql, postgresql_url

__all__ = ["address", "postgresql"]


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> Iterator[str | None]:
    """What the configuration says: nothing means SQLite in the data directory."""
    if request.param == "sqlite":
        yield None
    else:
        with postgresql_url() as url:
            yield url
