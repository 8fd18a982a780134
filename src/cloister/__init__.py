"""Cloister runs coding-agent tasks in sandboxes of their own, on your own machines."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloister.client import Client
    from cloister.errors import CloisterError
    from cloister.model.request import EnvironmentName, EnvironmentText, Request

__all__ = ["Client", "CloisterError", "EnvironmentName", "EnvironmentText", "Request"]

_PLACES = {
    "Client": "cloister.client",
    "CloisterError": "cloister.errors",
    "EnvironmentName": "cloister.model.request",
    "EnvironmentText": "cloister.model.request",
    "Request": "cloister.model.request",
}


def __getattr__(name: str) -> object:
    """Load what a script asks for, then: the program beside every sandbox begins with this package, and needs none."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_PLACES[name]), name)
