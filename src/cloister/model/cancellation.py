"""How a running attempt is asked to end."""

from dataclasses import dataclass

LONGEST_GRACE_SECONDS = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancellation:
    """What happens to the agent, and to what it changed."""

    grace_seconds: float = 0.0
    """From SIGTERM, to everything that the agent started, to the kill."""
    collect: bool = False
    """Whether the change is taken out of the sandbox all the same."""

    @property
    def is_gentle(self) -> bool:
        """Whether anything is left to do before the sandbox is destroyed."""
        return self.collect or self.grace_seconds > 0


AT_ONCE = Cancellation()
"""No grace, and nothing is kept."""
