"""The OpenAPI document is one that clients are generated from."""

from collections import Counter

from cloister.api.app import described


def test_no_two_schemas_have_one_title() -> None:
    """Generators name a class by its schema's title, and leave out what uses the second of that name."""
    schemas = described().openapi()["components"]["schemas"]
    titles = Counter(schema.get("title", name) for name, schema in schemas.items())
    assert [title for title, times in titles.items() if times > 1] == []
