"""What a process imports stays in its memory for good: `make bench` holds a worker to 50 MB, the control process to 120 MB."""

import subprocess
import sys

import pytest

HEAVY = (
    "aiosqlite", "alembic", "anyio", "asyncpg", "azure", "botocore", "click", "cryptography", "email_validator", "fastapi",
    "google.auth", "httpx", "jwt", "langfuse", "opentelemetry.sdk", "prometheus_client", "pydantic", "redis", "requests",
    "rich", "sentry_sdk", "sqlalchemy", "starlette", "typer", "uvicorn", "yaml",
    "wayport.catalog.catalog", "wayport.config.load", "wayport.config.schema", "wayport.control.admin",
    "wayport.control.process", "wayport.storage.database", "wayport.storage.tables",
)  # fmt: skip
WHEN_NEEDED = (
    "alembic", "asyncpg", "azure", "botocore", "cryptography", "google.auth", "httpx", "langfuse", "redis",
    "rich", "sentry_sdk", "typer", "wayport.observe.notify",
)  # fmt: skip


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        pytest.param("wayport.server.worker", HEAVY, id="a data worker imports nothing of the control plane"),
        pytest.param("wayport.control.process", WHEN_NEEDED, id="the control process loads some things when needed"),
    ],
)
def test_importing_it_loads_nothing_heavy(module: str, unwanted: tuple[str, ...]) -> None:
    program = f"import sys, {module}; print(*(each for each in {unwanted!r} if each in sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == []
