"""Snapshots say what programs found of automatic setup and of chosen versions, for those that are exported."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Snapshots that are kept already do not say it."""
    op.add_column("snapshots", sa.Column("path", sa.JSON))
    op.add_column("snapshots", sa.Column("variables", sa.JSON))
