"""When GitHub says no, and how."""


class RefusedError(Exception):
    """GitHub says no."""

    def __init__(self, status: int, message: str, errors: list[object] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.body = {
            "message": message,
            "documentation_url": "https://docs.github.com/rest",
            **({"errors": errors} if errors else {}),
        }


def unprocessable(*errors: str) -> RefusedError:
    """Return what GitHub says of a request that is as described, and cannot be carried out."""
    return RefusedError(422, "Unprocessable Entity", list(errors))
