"""What calls of a model used: tokens as the provider counts them, and what they cost by the operator's prices."""

from dataclasses import dataclass

_PER = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenUsage:
    """Tokens of one call, or of many. The default is none."""

    input_tokens: int = 0
    """All that were sent, those that came from the provider's cache and those that were written to it included."""
    cached_tokens: int = 0
    """Of the input, those that the provider had in its cache."""
    cache_written_tokens: int = 0
    """Of the input, those that the provider says it put into its cache."""
    output_tokens: int = 0
    """Reasoning included."""

    @property
    def tokens(self) -> int:
        """Input and output together: what `limits.tokens` counts."""
        return self.input_tokens + self.output_tokens

    def __add__(self, other: "TokenUsage") -> "TokenUsage":
        return TokenUsage(
            input_tokens=self.input_tokens + other.input_tokens,
            cached_tokens=self.cached_tokens + other.cached_tokens,
            cache_written_tokens=self.cache_written_tokens + other.cache_written_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What a million tokens of a model cost, in the operator's currency."""

    input: float
    output: float
    cached: float | None = None
    """Of input that came from the cache; None is the same as other input, which is never too little."""
    cache_write: float | None = None
    """Of input that was written to the cache; None is the same as other input."""

    def cost(self, usage: TokenUsage) -> float:
        """Return what that usage costs."""
        cached = self.input if self.cached is None else self.cached
        written = self.input if self.cache_write is None else self.cache_write
        plain = max(usage.input_tokens - usage.cached_tokens - usage.cache_written_tokens, 0)
        total = plain * self.input + usage.cached_tokens * cached + usage.cache_written_tokens * written
        return (total + usage.output_tokens * self.output) / _PER


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageTotal:
    """What the calls of an attempt used together."""

    calls: int = 0
    usage: TokenUsage = TokenUsage()
    cost: float | None = 0.0
    """In US dollars; None when the cost of one of the calls is not known."""
    estimated: bool = False
    """Whether a part of it was estimated, because the provider did not say it."""

    def plus(self, usage: TokenUsage, cost: float | None, *, estimated: bool) -> "UsageTotal":
        """Return it with one more call."""
        return UsageTotal(
            calls=self.calls + 1,
            usage=self.usage + usage,
            cost=None if self.cost is None or cost is None else self.cost + cost,
            estimated=self.estimated or estimated,
        )
