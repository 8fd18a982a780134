"""How many wait in a lane is kept."""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Count once what waits by now."""
    op.add_column("lanes", sa.Column("waiting", sa.Integer, nullable=False, server_default="0"))
    own = "attempts.asked_by = lanes.asked_by AND attempts.priority = lanes.priority"
    op.execute(f"UPDATE lanes SET waiting = (SELECT count(*) FROM attempts WHERE state = 'queued' AND {own})")
