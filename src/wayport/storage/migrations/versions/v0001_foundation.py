"""Keys, the request log with its spend, the spool's positions."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None


def upgrade() -> None:
    json = sa.JSON().with_variant(JSONB(), "postgresql")
    op.create_table(
        "wayport_meta",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )
    op.create_table(
        "wayport_keys",
        sa.Column("key_hash", sa.Text, primary_key=True),
        sa.Column("key_name", sa.Text, nullable=False),
        sa.Column("key_alias", sa.Text, unique=True),
        sa.Column("user_id", sa.Text),
        sa.Column("team_id", sa.Text),
        sa.Column("organization_id", sa.Text),
        sa.Column("role", sa.Text),
        sa.Column("models", json, nullable=False),
        sa.Column("routes", json, nullable=False),
        sa.Column("tags", json, nullable=False),
        sa.Column("metadata", json, nullable=False),
        sa.Column("limits", json, nullable=False),
        sa.Column("settings", json, nullable=False),
        sa.Column("expires_s", sa.Double),
        sa.Column("blocked", sa.Boolean, nullable=False),
        sa.Column("created_s", sa.Double, nullable=False),
        sa.Column("created_by", sa.Text),
        sa.Column("updated_s", sa.Double, nullable=False),
        sa.Column("updated_by", sa.Text),
    )
    op.create_index("wayport_keys_user", "wayport_keys", ["user_id"])
    op.create_index("wayport_keys_team", "wayport_keys", ["team_id"])
    op.create_index("wayport_keys_created", "wayport_keys", ["created_s"])
    op.create_table(
        "wayport_calls",
        sa.Column("call_id", sa.Text, primary_key=True),
        sa.Column("started_s", sa.Double, nullable=False),
        sa.Column("duration_ms", sa.Double, nullable=False),
        sa.Column("node", sa.Text, nullable=False),
        sa.Column("operation", sa.Text, nullable=False),
        sa.Column("route", sa.Text, nullable=False),
        sa.Column("key_hash", sa.Text),
        sa.Column("key_alias", sa.Text),
        sa.Column("user_id", sa.Text),
        sa.Column("team_id", sa.Text),
        sa.Column("organization_id", sa.Text),
        sa.Column("end_user", sa.Text),
        sa.Column("session_id", sa.Text),
        sa.Column("model_asked", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("upstream_model", sa.Text, nullable=False),
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("deployment", sa.Text, nullable=False),
        sa.Column("stream", sa.Boolean, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("http_status", sa.Integer, nullable=False),
        sa.Column("error_class", sa.Text),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("input_tokens", sa.BigInteger),
        sa.Column("output_tokens", sa.BigInteger),
        sa.Column("cache_read_tokens", sa.BigInteger),
        sa.Column("cache_write_tokens", sa.BigInteger),
        sa.Column("reasoning_tokens", sa.BigInteger),
        sa.Column("usage_source", sa.Text, nullable=False),
        sa.Column("cost_nano_usd", sa.BigInteger),
        sa.Column("wasted_nano_usd", sa.BigInteger, nullable=False),
        sa.Column("first_token_ms", sa.Double),
        sa.Column("record", json, nullable=False),
    )
    op.create_index("wayport_calls_started", "wayport_calls", ["started_s"])
    op.create_index("wayport_calls_key", "wayport_calls", ["key_hash", "started_s"])
    op.create_table(
        "wayport_open_calls",
        sa.Column("call_id", sa.Text, primary_key=True),
        sa.Column("writer", sa.Text, nullable=False),
        sa.Column("record", sa.LargeBinary, nullable=False),
    )
    op.create_index("wayport_open_calls_writer", "wayport_open_calls", ["writer"])
    op.create_table(
        "wayport_spend",
        sa.Column("scope", sa.Text, primary_key=True),
        sa.Column("holder", sa.Text, primary_key=True),
        sa.Column("spend_nano_usd", sa.BigInteger, nullable=False),
        sa.Column("calls", sa.BigInteger, nullable=False),
        sa.Column("updated_s", sa.Double, nullable=False),
    )
    op.create_table(
        "wayport_spool_positions",
        sa.Column("segment", sa.Text, primary_key=True),
        sa.Column("spool", sa.Text, nullable=False),
        sa.Column("position_bytes", sa.BigInteger, nullable=False),
        sa.Column("updated_s", sa.Double, nullable=False),
    )
    op.create_index("wayport_spool_positions_spool", "wayport_spool_positions", ["spool"])
