"""Roll-ups by quarter-hour, bodies, indexes for the request log's pages, and views for people who write SQL."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_SUMS = (
    "calls",
    "failures",
    "unpriced",
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
    "spend_nano_usd",
)
_NAMES = (
    "kind",
    "holder",
    "key_hash",
    "user_id",
    "team_id",
    "organization_id",
    "operation",
    "model",
    "upstream_model",
    "provider",
)

# One text for both databases but for how they write a moment and an exact fraction.
_VIEWS = {
    "litellm_request_logs": """
        SELECT call_id, {moment} AS created_at, COALESCE(NULLIF(model, ''), model_asked) AS model, provider, key_hash,
               user_id, team_id, input_tokens AS prompt_tokens, output_tokens AS completion_tokens,
               CASE WHEN status = 'success' THEN input_tokens + output_tokens END AS total_tokens,
               (COALESCE(cost_nano_usd, 0) + wasted_nano_usd) / {billion} AS spend,
               CASE WHEN status = 'success' THEN 'success' ELSE 'failure' END AS status,
               duration_ms AS latency_ms
        FROM wayport_calls""",
    "wayport_request_log": """
        SELECT call_id, {moment} AS started_at, duration_ms, first_token_ms, operation, route, model_asked, model,
               upstream_model, provider, deployment, stream, status, http_status, error_class, attempts, key_hash,
               key_alias, user_id, team_id, organization_id, end_user, session_id, input_tokens, output_tokens,
               cache_read_tokens, cache_write_tokens, reasoning_tokens, usage_source,
               (COALESCE(cost_nano_usd, 0) + wasted_nano_usd) / {billion} AS spend_usd, cost_nano_usd IS NULL AS unpriced
        FROM wayport_calls""",
    "wayport_spend_by_quarter": """
        SELECT {quarter} AS quarter_at, key_hash, user_id, team_id, organization_id, operation, model, upstream_model,
               provider, calls, failures, unpriced, input_tokens, output_tokens, cache_read_tokens, cache_write_tokens,
               reasoning_tokens, spend_nano_usd, spend_nano_usd / {billion} AS spend_usd
        FROM wayport_rollups WHERE kind = 'all'""",
    "wayport_spend_by_tag": """
        SELECT {quarter} AS quarter_at, holder AS tag, team_id, model, provider, calls, failures, spend_nano_usd,
               spend_nano_usd / {billion} AS spend_usd
        FROM wayport_rollups WHERE kind = 'tag'""",
}


def upgrade() -> None:
    op.create_table(
        "wayport_rollups",
        sa.Column("quarter", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("series", sa.Text, primary_key=True),
        *(sa.Column(name, sa.Text, nullable=False) for name in _NAMES),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in _SUMS),
        sa.Column("duration_ms", sa.Double, nullable=False),
    )
    op.create_index("wayport_rollups_kind", "wayport_rollups", ["kind", "quarter"])
    op.create_table(
        "wayport_bodies",
        sa.Column("call_id", sa.Text, primary_key=True),
        sa.Column("created_s", sa.Double, nullable=False),
        sa.Column("request", sa.LargeBinary),
        sa.Column("response", sa.LargeBinary),
        sa.Column("stored_bytes", sa.BigInteger, nullable=False),
    )
    op.create_index("wayport_bodies_created", "wayport_bodies", ["created_s"])
    # The status stands in them so that counting failures reads the index alone.
    op.drop_index("wayport_calls_started", "wayport_calls")
    op.create_index("wayport_calls_started", "wayport_calls", ["started_s", "status"])
    op.drop_index("wayport_calls_key", "wayport_calls")
    op.create_index("wayport_calls_key", "wayport_calls", ["key_hash", "started_s", "status"])
    for column in ("user_id", "team_id", "end_user", "model"):
        op.create_index(f"wayport_calls_{column}", "wayport_calls", [column, "started_s", "status"])
    op.create_index("wayport_calls_session", "wayport_calls", ["session_id"])
    _views(op.get_bind())


def _views(connection: sa.Connection) -> None:
    postgresql = connection.dialect.name == "postgresql"
    words = {
        "moment": "to_timestamp(started_s)" if postgresql else "strftime('%Y-%m-%dT%H:%M:%fZ', started_s, 'unixepoch')",
        "quarter": "to_timestamp(quarter * 900)"
        if postgresql
        else "strftime('%Y-%m-%dT%H:%M:%SZ', quarter * 900, 'unixepoch')",
        "billion": "1000000000::numeric" if postgresql else "1000000000.0",
    }
    for name, text in _VIEWS.items():
        where = _schema(connection, name) if postgresql else ""
        if where is not None:
            op.execute(f"CREATE VIEW {where}{name} AS {text.format(**words)}")


def _schema(connection: sa.Connection, name: str) -> str | None:
    """Where the view goes. None: another program has something of that name there, which we leave alone."""
    if name.startswith("wayport_"):
        return ""
    asked = sa.text("SELECT has_schema_privilege('public', 'CREATE'), to_regclass('public.' || :name) IS NULL")
    allowed, free = connection.execute(asked, {"name": name}).one()
    if not allowed:
        return ""
    return "public." if free else None
