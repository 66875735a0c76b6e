"""The tables that every database of ours has. Migrations make them; a test holds the two together.

Times are UTC seconds since the epoch, money is nano-dollars. Names begin with `wayport_`: a database may be shared with
another program, whose tables we never touch.
"""

from typing import Any

from sqlalchemy import JSON as SQL_JSON
from sqlalchemy import BigInteger, Boolean, Column, Double, Index, Integer, LargeBinary, MetaData, Table, Text
from sqlalchemy.dialects.postgresql import JSONB

JSON = SQL_JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")

metadata = MetaData()

meta = Table(
    "wayport_meta",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)
"""facts about this database as a whole (`installation`: a random id)"""

keys = Table(
    "wayport_keys",
    metadata,
    Column("key_hash", Text, primary_key=True),
    Column("key_name", Text, nullable=False),
    Column("key_alias", Text, unique=True),
    Column("user_id", Text),
    Column("team_id", Text),
    Column("organization_id", Text),
    Column("project_id", Text),
    Column("role", Text),
    Column("models", JSON, nullable=False),
    Column("routes", JSON, nullable=False),
    Column("tags", JSON, nullable=False),
    Column("metadata", JSON, nullable=False),
    Column("limits", JSON, nullable=False),
    Column("settings", JSON, nullable=False),
    Column("expires_s", Double),
    Column("rotates_s", Double),
    Column("blocked", Boolean, nullable=False),
    Column("created_s", Double, nullable=False),
    Column("created_by", Text),
    Column("updated_s", Double, nullable=False),
    Column("updated_by", Text),
    Index("wayport_keys_user", "user_id"),
    Index("wayport_keys_rotates", "rotates_s"),
    Index("wayport_keys_team", "team_id"),
    Index("wayport_keys_project", "project_id"),
    Index("wayport_keys_created", "created_s"),
)
"""the keys that we issue; `settings` keeps the fields of a key that nothing here reads, to give them back"""

calls = Table(
    "wayport_calls",
    metadata,
    Column("call_id", Text, primary_key=True),
    Column("started_s", Double, nullable=False),
    Column("duration_ms", Double, nullable=False),
    Column("node", Text, nullable=False),
    Column("operation", Text, nullable=False),
    Column("route", Text, nullable=False),
    Column("key_hash", Text),
    Column("key_alias", Text),
    Column("user_id", Text),
    Column("team_id", Text),
    Column("organization_id", Text),
    Column("end_user", Text),
    Column("session_id", Text),
    Column("model_asked", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("upstream_model", Text, nullable=False),
    Column("provider", Text, nullable=False),
    Column("deployment", Text, nullable=False),
    Column("stream", Boolean, nullable=False),
    Column("status", Text, nullable=False),
    Column("http_status", Integer, nullable=False),
    Column("error_class", Text),
    Column("attempts", Integer, nullable=False),
    Column("input_tokens", BigInteger),
    Column("output_tokens", BigInteger),
    Column("cache_read_tokens", BigInteger),
    Column("cache_write_tokens", BigInteger),
    Column("reasoning_tokens", BigInteger),
    Column("usage_source", Text, nullable=False),
    Column("cost_nano_usd", BigInteger),
    Column("wasted_nano_usd", BigInteger, nullable=False),
    Column("first_token_ms", Double),
    Column("upstream_id", Text),
    Column("record", JSON, nullable=False),
    Index("wayport_calls_started", "started_s", "status"),
    Index("wayport_calls_key", "key_hash", "started_s", "status"),
    Index("wayport_calls_user_id", "user_id", "started_s", "status"),
    Index("wayport_calls_team_id", "team_id", "started_s", "status"),
    Index("wayport_calls_end_user", "end_user", "started_s", "status"),
    Index("wayport_calls_model", "model", "started_s", "status"),
    Index("wayport_calls_session", "session_id"),
    Index("wayport_calls_upstream_id", "upstream_id"),
)
"""the request log: the columns that people ask for, and the whole record as JSON"""

open_calls = Table(
    "wayport_open_calls",
    metadata,
    Column("call_id", Text, primary_key=True),
    Column("writer", Text, nullable=False),
    Column("record", LargeBinary, nullable=False),
    Index("wayport_open_calls_writer", "writer"),
)
"""calls whose opening line is drained and whose closing line is not; charged at their reservation when the writer is gone"""

spend = Table(
    "wayport_spend",
    metadata,
    Column("scope", Text, primary_key=True),
    Column("holder", Text, primary_key=True),
    Column("spend_nano_usd", BigInteger, nullable=False),
    Column("calls", BigInteger, nullable=False),
    Column("updated_s", Double, nullable=False),
)
"""money accumulated by a holder (`scope` is `key`; more scopes can follow), written in the transaction of its calls"""

spool_positions = Table(
    "wayport_spool_positions",
    metadata,
    Column("segment", Text, primary_key=True),
    Column("spool", Text, nullable=False),
    Column("position_bytes", BigInteger, nullable=False),
    Column("updated_s", Double, nullable=False),
    Index("wayport_spool_positions_spool", "spool"),
)
"""how far each segment of each spool is drained, written in the transaction of its records"""


def _managed(name: str, *more: Column[Any] | Index) -> Table:
    """A table of what people manage: an id of their choice, what it may use at most, and what was said of it."""
    return Table(
        f"wayport_{name}",
        metadata,
        Column("id", Text, primary_key=True),
        Column("limits", JSON, nullable=False),
        Column("metadata", JSON, nullable=False),
        Column("settings", JSON, nullable=False),
        Column("blocked", Boolean, nullable=False),
        Column("created_s", Double, nullable=False),
        Column("created_by", Text),
        Column("updated_s", Double, nullable=False),
        Column("updated_by", Text),
        *more,
    )


users = _managed(
    "users",
    Column("email", Text, unique=True),
    Column("alias", Text),
    Column("role", Text),
    Column("models", JSON, nullable=False),
    Index("wayport_users_created", "created_s"),
)

teams = _managed(
    "teams",
    Column("alias", Text),
    Column("organization_id", Text),
    Column("models", JSON, nullable=False),
    Index("wayport_teams_organization", "organization_id"),
)

projects = _managed(
    "projects",
    Column("alias", Text),
    Column("team_id", Text, nullable=False),
    Column("budget_id", Text),
    Column("models", JSON, nullable=False),
    Index("wayport_projects_team", "team_id"),
)
"""parts of a team with keys and limits of their own"""

organizations = _managed(
    "organizations",
    Column("alias", Text),
    Column("budget_id", Text),
    Column("models", JSON, nullable=False),
)

customers = _managed(
    "customers",
    Column("alias", Text),
    Column("budget_id", Text),
    Column("models", JSON, nullable=False),
)
"""end users: whom a client names as `user`"""

tags = _managed(
    "tags",
    Column("description", Text),
    Column("budget_id", Text),
    Column("models", JSON, nullable=False),
)

budgets = _managed("budgets")
"""limits that several holders share by name"""

access_groups = _managed("access_groups", Column("alias", Text), Column("models", JSON, nullable=False))
"""a name for several models"""

models = _managed(
    "models",
    Column("name", Text, nullable=False),
    Column("params", LargeBinary, nullable=False),
    Column("info", JSON, nullable=False),
)
"""models added through the API; `params` is sealed, as credentials may stand in it"""

credentials = _managed(
    "credentials", Column("sealed", LargeBinary, nullable=False), Column("info", JSON, nullable=False)
)

team_callbacks = _managed("team_callbacks", Column("sealed", LargeBinary, nullable=False))
"""who is told of a team's calls: `id` is the team's, `blocked` says that nobody is"""

members = Table(
    "wayport_members",
    metadata,
    Column("scope", Text, primary_key=True),
    Column("group_id", Text, primary_key=True),
    Column("user_id", Text, primary_key=True),
    Column("email", Text),
    Column("role", Text, nullable=False),
    Column("limits", JSON, nullable=False),
    Column("settings", JSON, nullable=False),
    Column("created_s", Double, nullable=False),
    Column("updated_s", Double, nullable=False),
    Index("wayport_members_user", "user_id"),
)
"""who belongs to which team or organisation (`scope`), and what a member may use at most"""

old_keys = Table(
    "wayport_old_keys",
    metadata,
    Column("old_hash", Text, primary_key=True),
    Column("key_hash", Text, nullable=False),
    Column("until_s", Double, nullable=False),
    Column("sealed", LargeBinary),
    Index("wayport_old_keys_key", "key_hash"),
)
"""keys that were replaced and are still good for a while; `sealed` is the key in their place, if nobody was shown it"""

audit = Table(
    "wayport_audit",
    metadata,
    Column("id", Text, primary_key=True),
    Column("at_s", Double, nullable=False),
    Column("changed_by", Text),
    Column("changed_by_key", Text),
    Column("action", Text, nullable=False),
    Column("table_name", Text, nullable=False),
    Column("object_id", Text, nullable=False),
    Column("before", JSON),
    Column("after", JSON),
    Index("wayport_audit_at", "at_s"),
    Index("wayport_audit_object", "table_name", "object_id"),
)
"""who changed what: values before and after, secrets masked"""

rollups = Table(
    "wayport_rollups",
    metadata,
    Column("quarter", BigInteger, primary_key=True, autoincrement=False),
    Column("series", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("holder", Text, nullable=False),
    Column("key_hash", Text, nullable=False),
    Column("user_id", Text, nullable=False),
    Column("team_id", Text, nullable=False),
    Column("organization_id", Text, nullable=False),
    Column("operation", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("upstream_model", Text, nullable=False),
    Column("provider", Text, nullable=False),
    Column("calls", BigInteger, nullable=False),
    Column("failures", BigInteger, nullable=False),
    Column("unpriced", BigInteger, nullable=False),
    Column("input_tokens", BigInteger, nullable=False),
    Column("output_tokens", BigInteger, nullable=False),
    Column("cache_read_tokens", BigInteger, nullable=False),
    Column("cache_write_tokens", BigInteger, nullable=False),
    Column("reasoning_tokens", BigInteger, nullable=False),
    Column("spend_nano_usd", BigInteger, nullable=False),
    Column("duration_ms", Double, nullable=False),
    Index("wayport_rollups_kind", "kind", "quarter"),
)
"""sums of calls by quarter-hour of UTC (`quarter` is the epoch's seconds through 900), kept when calls are deleted.

`kind` is `all` (each call once), `tag` (once for each of its tags) or `end_user`; `holder` is that tag or end user.
`series` is a digest of all names together."""

bodies = Table(
    "wayport_bodies",
    metadata,
    Column("call_id", Text, primary_key=True),
    Column("created_s", Double, nullable=False),
    Column("request", LargeBinary),
    Column("response", LargeBinary),
    Column("stored_bytes", BigInteger, nullable=False),
    Index("wayport_bodies_created", "created_s"),
)
"""what was asked and answered, where the operator keeps it: masked, then compressed with zlib"""

conversations = Table(
    "wayport_conversations",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("response_id", Text, primary_key=True),
    Column("previous_id", Text),
    Column("sealed", LargeBinary, nullable=False),
    Column("created_s", Double, nullable=False),
    Column("expires_s", Double, nullable=False),
    Index("wayport_conversations_expires", "expires_s"),
)
"""requests and their answers, kept to be gone on from; `sealed` holds all that was said"""

conversation_items = Table(
    "wayport_conversation_items",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("item_id", Text, primary_key=True),
    Column("response_id", Text, nullable=False),
    Column("deployment", Text),
    Index("wayport_conversation_items_response", "tenant", "response_id"),
)
"""in which kept turn an item stands: the latest that has it. `deployment` keeps the item too"""

budget_spend = Table(
    "wayport_budget_spend",
    metadata,
    Column("counter", Text, primary_key=True),
    Column("window_s", BigInteger, primary_key=True, autoincrement=False),
    Column("node", Text, primary_key=True),
    Column("writer", Text, primary_key=True),
    Column("spend_nano_usd", BigInteger, nullable=False),
    Column("updated_s", Double, nullable=False),
)
"""money spent in a window of a budget, by each writer of a spool (empty: those that are gone), written in the transaction
of its calls; `window_s` is when it began, 0 for a budget for good"""

counters = Table(
    "wayport_counters",
    metadata,
    Column("counter", Text, primary_key=True),
    Column("window_s", BigInteger, primary_key=True, autoincrement=False),
    Column("number", BigInteger, nullable=False),
    Column("ends_s", Double),
    Column("carried", BigInteger, nullable=False),
)
"""windows that nodes lease from, where there is no Redis; a node that changes the leases of one locks its row"""

leases = Table(
    "wayport_leases",
    metadata,
    Column("counter", Text, primary_key=True),
    Column("window_s", BigInteger, primary_key=True, autoincrement=False),
    Column("node", Text, primary_key=True),
    Column("held", BigInteger, nullable=False),
    Column("busy", BigInteger, nullable=False),
    Column("free", BigInteger, nullable=False),
    Column("until_s", Double),
)
"""what each node holds of a window; only slots have an end (`until_s`)"""

nodes = Table(
    "wayport_nodes",
    metadata,
    Column("node", Text, primary_key=True),
    Column("seen_s", Double, nullable=False),
)
"""control processes that share this database, and when each last said so"""
