"""How an attempt shall be cancelled."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns: attempts that were cancelled before had no grace, and left nothing."""
    op.add_column("attempts", sa.Column("cancel_grace_seconds", sa.Float))
    op.add_column("attempts", sa.Column("cancel_collect", sa.Boolean))
