"""Files that come with the prompt of a later turn."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add what came, and whose it is; turns of before have none."""
    op.add_column("turns", sa.Column("files", sa.JSON))
    op.add_column("turns", sa.Column("given", sa.Text))
