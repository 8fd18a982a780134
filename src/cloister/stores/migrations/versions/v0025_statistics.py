"""Times by which numbers are read."""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

_COUNTED = ("egress_allowed", "egress_refused", "snapshot_hit", "snapshot_missed")


def upgrade() -> None:
    """Add the indexes; of events, for the few kinds that are counted alone."""
    op.create_index("tasks_by_acceptance", "tasks", ["accepted_at"])
    for name in _COUNTED:
        op.create_index(f"events_{name}", "events", ["at"], sqlite_where=sa.text(f"name = '{name}'"))
