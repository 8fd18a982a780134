"""What tokens cost."""

import pytest

from cloister.model.model_usage import Price, TokenUsage


def test_each_kind_of_token_has_its_price() -> None:
    usage = TokenUsage(input_tokens=1000, cached_tokens=600, cache_written_tokens=100, output_tokens=50)
    price = Price(input=1.0, cached=0.1, cache_write=1.25, output=8.0)
    assert price.cost(usage) * 1_000_000 == pytest.approx(300 * 1.0 + 600 * 0.1 + 100 * 1.25 + 50 * 8.0)


def test_a_discount_that_is_not_told_is_none() -> None:
    usage = TokenUsage(input_tokens=1000, cached_tokens=600, cache_written_tokens=100, output_tokens=0)
    assert Price(input=2.0, output=8.0).cost(usage) * 1_000_000 == pytest.approx(2000.0)


def test_usages_add_up() -> None:
    one = TokenUsage(input_tokens=1, cached_tokens=2, cache_written_tokens=3, output_tokens=4)
    assert one + one == TokenUsage(input_tokens=2, cached_tokens=4, cache_written_tokens=6, output_tokens=8)
    assert (one + one).tokens == 10
