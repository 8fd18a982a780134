"""The way out of sandboxes."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from cloister.model.asker import Asker, Connection
from cloister.model.network import EgressTold, NetworkPolicy
from cloister.model.sandbox import SandboxName
from cloister.model.secret import Grant
from cloister.protocols.sandbox import Listeners

FindAsker = Callable[[Connection], Awaitable[Asker | None]]
"""Finds who in a sandbox holds its end of a connection. Never fails."""


class Egress(Protocol):
    """The process that decides who may be reached, and carries the bytes."""

    async def open(
        self,
        name: SandboxName,
        listeners: Listeners,
        policy: NetworkPolicy,
        report: Callable[[EgressTold], None],
        grants: Sequence[Grant] = (),
        find_asker: FindAsker | None = None,
    ) -> None:
        """Serve these sockets under `policy` and `grants`; REPLACES what was open, and cuts what is no longer allowed.

        Takes the listeners over, also when it fails. `report` is called in our event loop for every decision, and
        when what was allowed is over. Who asked is looked for with `find_asker`, for a moment, and shown as it says.
        Returns when the policy is in force; until then, and whenever the process is down, nothing gets out.
        EgressError when the policy cannot be one, or cannot be put in force.
        """
        ...

    async def close(self, name: SandboxName) -> None:
        """Cut everything that is open, and forget the listeners. Absent is not an error."""
        ...
