"""Who is told of a team's calls, in place of or beside those who are told of all."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0009"
down_revision = "0008"

_JSON = sa.JSON().with_variant(JSONB(), "postgresql")


def upgrade() -> None:
    op.create_table(
        "wayport_team_callbacks",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        sa.Column("limits", _JSON, nullable=False),
        sa.Column("metadata", _JSON, nullable=False),
        sa.Column("settings", _JSON, nullable=False),
        sa.Column("blocked", sa.Boolean, nullable=False),
        sa.Column("created_s", sa.Double, nullable=False),
        sa.Column("created_by", sa.Text),
        sa.Column("updated_s", sa.Double, nullable=False),
        sa.Column("updated_by", sa.Text),
    )
