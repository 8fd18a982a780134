"""What bodies of requests have in common: an unknown key is an error, and an error never shows a value."""

from pydantic import BaseModel, ConfigDict


class Body(BaseModel):
    """Base of all bodies."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, hide_input_in_errors=True)
