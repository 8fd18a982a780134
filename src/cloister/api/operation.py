"""What operations are called: in the API's document, in clients that are made of it, and in the audit."""

from fastapi.routing import APIRoute


def operation_id(route: APIRoute) -> str:
    """Return the name of an operation: `tasks_follow_up`."""
    return f"{route.tags[0]}_{route.name}" if route.tags else route.name
