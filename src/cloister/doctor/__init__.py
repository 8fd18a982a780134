"""Whether this host can run sandboxes, what it cannot enforce, and what to do about it.

`facts` looks at the host, `checks` judges what was found: the one can be wrong only about machines,
the other only about rules.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from cloister.doctor.checks import judge
from cloister.doctor.facts import read_facts
from cloister.doctor.finding import Finding
from cloister.settings import Settings


async def examine(
    settings: Settings, *, find_catching_error: Callable[[], str], find_volume_error: Callable[[Path], str]
) -> Sequence[Finding]:
    """Look at this host and say what was found. Leaves nothing, in the state directory or mounted.

    `find_catching_error` tries what catches programs that ignore the proxy, and returns why it cannot be done;
    `find_volume_error`, in a directory, what holds sandboxes to their disk's size.
    """
    return judge(await read_facts(settings, find_catching_error, find_volume_error))
