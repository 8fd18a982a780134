"""Snapshots: when each was used last, how large it is, and those that are one ref's own."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """What is kept already was never used, as far as anybody knows, and its size is found out later."""
    op.add_column("snapshots", sa.Column("last_used_at", sa.DateTime))
    op.add_column("snapshots", sa.Column("size_bytes", sa.BigInteger))
    op.add_column("snapshots", sa.Column("ref", sa.Text))
    op.add_column("snapshots", sa.Column("below", sa.Text))
