"""The id of a call's answer, by which clients look for it in the request log."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.add_column("wayport_calls", sa.Column("upstream_id", sa.Text))
    op.create_index("wayport_calls_upstream_id", "wayport_calls", ["upstream_id"])
