"""Tasks can be put out of sight."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """None is, by now."""
    op.add_column("tasks", sa.Column("archived", sa.Boolean, nullable=False, server_default=sa.false()))
    op.create_index("tasks_by_sight", "tasks", ["archived", "position"])
