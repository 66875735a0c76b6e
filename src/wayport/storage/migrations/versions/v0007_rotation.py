"""When a key is replaced by itself, and the new key, sealed, for whoever still has the old one."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column("wayport_keys", sa.Column("rotates_s", sa.Double))
    op.create_index("wayport_keys_rotates", "wayport_keys", ["rotates_s"])
    op.add_column("wayport_old_keys", sa.Column("sealed", sa.LargeBinary))
