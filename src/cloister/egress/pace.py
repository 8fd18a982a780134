"""How often one sandbox may make us decide: each decision becomes an event that is kept."""


class Pace:
    """Lets `burst` things happen at once, and then `per_second` of them."""

    def __init__(self, *, burst: int, per_second: float) -> None:
        self._interval = 1 / per_second
        self._credit = burst * self._interval
        self._due = 0.0

    def take(self, now: float) -> float:
        """Count one at `now`, of any clock that only goes forward, and return how many seconds it has to wait."""
        self._due = max(self._due + self._interval, now - self._credit + self._interval)
        return max(self._due - now, 0.0)
