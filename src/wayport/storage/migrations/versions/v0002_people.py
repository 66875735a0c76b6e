"""Users, teams, organisations, customers, tags, budgets, access groups; models and credentials; the audit log."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0002"
down_revision = "0001"

_JSON = sa.JSON().with_variant(JSONB(), "postgresql")


def _managed(name: str, *more: sa.Column[Any]) -> None:
    op.create_table(
        f"wayport_{name}",
        sa.Column("id", sa.Text, primary_key=True),
        *more,
        sa.Column("limits", _JSON, nullable=False),
        sa.Column("metadata", _JSON, nullable=False),
        sa.Column("settings", _JSON, nullable=False),
        sa.Column("blocked", sa.Boolean, nullable=False),
        sa.Column("created_s", sa.Double, nullable=False),
        sa.Column("created_by", sa.Text),
        sa.Column("updated_s", sa.Double, nullable=False),
        sa.Column("updated_by", sa.Text),
    )


def _models() -> sa.Column[Any]:
    return sa.Column("models", _JSON, nullable=False)


def upgrade() -> None:
    _managed(
        "users",
        sa.Column("email", sa.Text, unique=True),
        sa.Column("alias", sa.Text),
        sa.Column("role", sa.Text),
        _models(),
    )
    op.create_index("wayport_users_created", "wayport_users", ["created_s"])
    _managed("teams", sa.Column("alias", sa.Text), sa.Column("organization_id", sa.Text), _models())
    op.create_index("wayport_teams_organization", "wayport_teams", ["organization_id"])
    for name, text in (("organizations", "alias"), ("customers", "alias"), ("tags", "description")):
        _managed(name, sa.Column(text, sa.Text), sa.Column("budget_id", sa.Text), _models())
    _managed("budgets")
    _managed("access_groups", sa.Column("alias", sa.Text), _models())
    _managed(
        "models",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("params", sa.LargeBinary, nullable=False),
        sa.Column("info", _JSON, nullable=False),
    )
    _managed(
        "credentials",
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        sa.Column("info", _JSON, nullable=False),
    )
    op.create_table(
        "wayport_members",
        sa.Column("scope", sa.Text, primary_key=True),
        sa.Column("group_id", sa.Text, primary_key=True),
        sa.Column("user_id", sa.Text, primary_key=True),
        sa.Column("email", sa.Text),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("limits", _JSON, nullable=False),
        sa.Column("settings", _JSON, nullable=False),
        sa.Column("created_s", sa.Double, nullable=False),
        sa.Column("updated_s", sa.Double, nullable=False),
    )
    op.create_index("wayport_members_user", "wayport_members", ["user_id"])
    op.create_table(
        "wayport_old_keys",
        sa.Column("old_hash", sa.Text, primary_key=True),
        sa.Column("key_hash", sa.Text, nullable=False),
        sa.Column("until_s", sa.Double, nullable=False),
    )
    op.create_index("wayport_old_keys_key", "wayport_old_keys", ["key_hash"])
    op.create_table(
        "wayport_audit",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("at_s", sa.Double, nullable=False),
        sa.Column("changed_by", sa.Text),
        sa.Column("changed_by_key", sa.Text),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("table_name", sa.Text, nullable=False),
        sa.Column("object_id", sa.Text, nullable=False),
        sa.Column("before", _JSON),
        sa.Column("after", _JSON),
    )
    op.create_index("wayport_audit_at", "wayport_audit", ["at_s"])
    op.create_index("wayport_audit_object", "wayport_audit", ["table_name", "object_id"])
