"""What routes find behind the application, and what of it is for the machine's owner alone."""

from typing import Annotated

from fastapi import Depends, Request

from cloister.access import Access
from cloister.api.caller import Caller
from cloister.errors import DeniedError
from cloister.intake import Intake
from cloister.repository_address import is_path
from cloister.tokens import Tokens


def _intake_of(request: Request) -> Intake:
    intake: Intake = request.app.state.intake
    return intake


def _access_of(request: Request) -> Access:
    access: Access = request.app.state.access
    return access


def _tokens_of(request: Request) -> Tokens:
    return _access_of(request).tokens


FrontDoor = Annotated[Intake, Depends(_intake_of)]
KnownAccess = Annotated[Access, Depends(_access_of)]
KnownTokens = Annotated[Tokens, Depends(_tokens_of)]


def check_repository(address: str, caller: Caller) -> None:
    """Raise DeniedError for a path of this machine that somebody else names."""
    if not caller.on_this_machine and is_path(address):
        raise DeniedError("a path of the server is no repository for a token", hint="give the address of one")
