"""What routes find behind the application, and what of it is not for every caller."""

from typing import Annotated

from fastapi import Depends, Request

from cloister.access import Access
from cloister.api.caller import Caller
from cloister.automation import Automation
from cloister.errors import DeniedError
from cloister.intake import Intake
from cloister.model.bundle import is_bundle, own_bundles
from cloister.model.fairness import Priority
from cloister.model.reference import parse_reference
from cloister.model.token import Role
from cloister.repository_address import is_path
from cloister.tokens import Tokens

# Each is a coroutine: for what is none, a thread would be used.


async def _intake_of(request: Request) -> Intake:
    intake: Intake = request.app.state.intake
    return intake


async def _access_of(request: Request) -> Access:
    access: Access = request.app.state.access
    return access


async def _tokens_of(request: Request) -> Tokens:
    access: Access = request.app.state.access
    return access.tokens


async def _automation_of(request: Request) -> Automation:
    automation: Automation = request.app.state.automation
    return automation


FrontDoor = Annotated[Intake, Depends(_intake_of)]
KnownAutomation = Annotated[Automation, Depends(_automation_of)]
KnownAccess = Annotated[Access, Depends(_access_of)]
KnownTokens = Annotated[Tokens, Depends(_tokens_of)]


def check_repository(address: str, caller: Caller) -> None:
    """Raise DeniedError for a path of this machine, or a bundle of another caller, that somebody else names."""
    if not caller.on_this_machine and is_path(address):
        raise DeniedError("a path of the server is no repository for a token", hint="give the address of one")
    if not caller.on_this_machine and is_bundle(address) and not address.startswith(own_bundles(caller.by)):
        raise DeniedError(
            "this repository was sent by somebody else", hint="send it yourself: cloister run --repo PATH"
        )


def check_priority(priority: Priority, caller: Caller) -> None:
    """Raise DeniedError for a caller who may not go before others."""
    if priority is Priority.HIGH and not caller.role.includes(Role.ADMIN):
        raise DeniedError(f"{caller.name} is a {caller.role}; a high priority takes a role of {Role.ADMIN}")


async def check_registry(reference: str, intake: Intake, caller: Caller) -> None:
    """Raise DeniedError for a registry within this machine's own networks that somebody else names."""
    if caller.on_this_machine:
        parse_reference(reference)
    else:
        await intake.snapshots.check_registry(reference)
