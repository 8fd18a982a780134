"""Who is told what becomes of deliveries."""

from typing import Literal, Protocol

Arrival = Literal["taken", "known", "ignored", "refused"]


class InboxWatcher(Protocol):
    """Quick, and never fails."""

    def arrived(self, arrival: Arrival, kind: str | None) -> None:
        """A delivery came; its kind is None when it is refused: then anybody may have sent it."""
        ...

    def begun(self, waited: float) -> None:
        """The first work at one begins, so many seconds after it arrived."""
        ...


class Unwatched:
    """Tells nobody."""

    def arrived(self, arrival: Arrival, kind: str | None) -> None:
        """See `InboxWatcher`."""

    def begun(self, waited: float) -> None:
        """See `InboxWatcher`."""


_: type[InboxWatcher] = Unwatched
