"""What bodies of requests have in common: an unknown key is an error, and an error never shows a value."""

from pydantic import BaseModel, ConfigDict


class Body(BaseModel):
    """Base of all bodies."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, hide_input_in_errors=True)


LARGEST_NUMBER = 2**53 - 1
"""In requests: more cannot be told in JSON by every client, and not much more be kept."""
