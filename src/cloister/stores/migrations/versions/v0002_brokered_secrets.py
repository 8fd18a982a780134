"""Brokered secrets: the rule of those that only the proxy may use."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Secrets that are kept already stay what they are: for setup."""
    op.add_column("secrets", sa.Column("rule", sa.Text))
