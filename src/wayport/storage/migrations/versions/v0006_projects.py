"""Projects: parts of a team that have keys, models and budgets of their own."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0006"
down_revision = "0005"

_JSON = sa.JSON().with_variant(JSONB(), "postgresql")


def upgrade() -> None:
    op.create_table(
        "wayport_projects",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("alias", sa.Text),
        sa.Column("team_id", sa.Text, nullable=False),
        sa.Column("budget_id", sa.Text),
        sa.Column("models", _JSON, nullable=False),
        sa.Column("limits", _JSON, nullable=False),
        sa.Column("metadata", _JSON, nullable=False),
        sa.Column("settings", _JSON, nullable=False),
        sa.Column("blocked", sa.Boolean, nullable=False),
        sa.Column("created_s", sa.Double, nullable=False),
        sa.Column("created_by", sa.Text),
        sa.Column("updated_s", sa.Double, nullable=False),
        sa.Column("updated_by", sa.Text),
    )
    op.create_index("wayport_projects_team", "wayport_projects", ["team_id"])
    op.add_column("wayport_keys", sa.Column("project_id", sa.Text))
    op.create_index("wayport_keys_project", "wayport_keys", ["project_id"])
