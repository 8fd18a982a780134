"""What can be a secret's name and value."""

from cloister.errors import UsageError
from cloister.model.secret import LONGEST_SECRET_BYTES, SHORTEST_SECRET, VARIABLE_NAME, is_reserved


def check_name(name: str) -> None:
    """Raise UsageError when no secret may be called that."""
    if not VARIABLE_NAME.fullmatch(name):
        raise UsageError(f"{name!r} is not a variable's name", hint="use letters, digits and _, no digit first")
    if is_reserved(name):
        raise UsageError(f"{name} is set by Cloister or the shell itself", hint="choose another name")


def check_value(name: str, value: str) -> None:
    """Raise UsageError, without the value, when it could not be delivered, masked or searched for."""
    if len(value.strip()) < SHORTEST_SECRET:
        raise UsageError(
            f"the value of {name} has fewer than {SHORTEST_SECRET} characters, so it could not be masked in output"
        )
    if "\0" in value:
        raise UsageError(f"the value of {name} holds a NUL, which no environment variable can")
    try:
        size = len(value.encode())
    except UnicodeEncodeError as error:
        # Without its cause's text, which would show a part of the value.
        raise UsageError(f"the value of {name} is not valid UTF-8 at character {error.start}") from None
    if size > LONGEST_SECRET_BYTES:
        raise UsageError(f"the value of {name} has {size} bytes; the most is {LONGEST_SECRET_BYTES}")
