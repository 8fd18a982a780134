"""How many attempts are not over."""

from collections.abc import Mapping

from sqlalchemy import func, select

from cloister.model.task import TaskState
from cloister.stores.database import Database
from cloister.stores.schema import ATTEMPTS

_STATES = (TaskState.QUEUED, TaskState.RUNNING)


async def read_queue_depth(database: Database) -> Mapping[str, int]:
    """Return the number of attempts that wait and run, by state; by an index, whatever is over."""
    query = select(ATTEMPTS.c.state, func.count().label("together")).where(ATTEMPTS.c.state.in_(_STATES))
    found = {row.state: row.together for row in await database.all(query.group_by(ATTEMPTS.c.state))}
    return {str(state): found.get(state, 0) for state in _STATES}
