"""Users take turns: who asked for an attempt, and with which priority."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """What waits by now is the owner's, and of normal priority."""
    for name in ("asked_by", "priority", "environment"):
        op.add_column("attempts", sa.Column(name, sa.Text))
    environment = "(SELECT environment FROM tasks WHERE tasks.id = attempts.task)"
    op.execute(f"UPDATE attempts SET asked_by = 'owner', priority = 'normal', environment = {environment}")
    op.drop_index("attempts_by_state", "attempts")
    op.create_index("attempts_by_lane", "attempts", ["state", "asked_by", "priority", "position"])
    op.create_table(
        "lanes",
        sa.Column("asked_by", sa.Text, primary_key=True),
        sa.Column("priority", sa.Text, primary_key=True),
        sa.Column("served", sa.Integer, nullable=False),
    )
    op.execute("INSERT INTO lanes VALUES ('owner', 'normal', 0)")
