"""The forge: what Cloister logs in with, and the repositories and branches to choose from."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, status
from pydantic import Field, SecretStr

from cloister.api.body import Body
from cloister.api.caller import Admin, Member
from cloister.api.front import FrontDoor, KnownAutomation, check_repository
from cloister.errors import UsageError
from cloister.intake import Intake
from cloister.model.forge import AppManifest, ForgeBranch, ForgeLogin, ForgeRepository, MadeApp
from cloister.model.inbox import ForgeDelivery
from cloister.protocols import ForgeHost

router = APIRouter(prefix="/forge", tags=["forge"])

LONGEST_APP_NAME = 34
Address = Annotated[str, Query(description="Of the repository.", max_length=2048)]


class LoginBody(Body):
    """A personal token, or the private key of the app that the settings name."""

    kind: Literal["token", "key"]
    value: SecretStr


class WebhookSecretBody(Body):
    """What the forge signs deliveries with."""

    value: SecretStr
    forget_former: bool = Field(default=False, description="Whether the one before ends at once.")


@router.get("")
async def get(intake: FrontDoor, _: Admin) -> ForgeLogin:
    """Say as whom Cloister is known at the forge, and what is missing."""
    return await host_of(intake).login()


@router.put("/login", status_code=status.HTTP_204_NO_CONTENT)
async def put_login(body: LoginBody, intake: FrontDoor, _: Admin) -> None:
    """Keep what Cloister logs in with in the vault. It never comes out."""
    await host_of(intake).set_login(body.kind, body.value.get_secret_value())


class AppManifestBody(Body):
    """What an app shall be like."""

    name: Annotated[str, Field(min_length=1, max_length=LONGEST_APP_NAME)] = "cloister"
    """As it is called at the forge, where no other is called so."""
    organization: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    """Whose it is; null is the person's who posts it."""
    redirect: Annotated[str, Field(max_length=200)]
    """Where the person's browser is led with the code: on the person's own machine, `http://127.0.0.1:PORT/...`."""
    workflows: bool = False
    """Whether it may push changes of the forge's workflows."""


@router.post("/app-manifest")
async def app_manifest(body: AppManifestBody, intake: FrontDoor, _: Admin) -> AppManifest:
    """Return what a person's browser posts to the forge to make an app for Cloister."""
    return host_of(intake).app_manifest(
        name=body.name, organization=body.organization, redirect=body.redirect, workflows=body.workflows
    )


class AppCodeBody(Body):
    """What the forge led the browser back with."""

    code: SecretStr


@router.post("/app", status_code=status.HTTP_201_CREATED)
async def make_app(body: AppCodeBody, intake: FrontDoor, _: Admin) -> MadeApp:
    """Let the forge make the app, once, and keep its key and its webhook's secret in the vault."""
    return await host_of(intake).make_app(body.code.get_secret_value())


@router.put("/webhook-secret", status_code=status.HTTP_204_NO_CONTENT)
async def put_webhook_secret(body: WebhookSecretBody, automation: KnownAutomation, _: Admin) -> None:
    """Keep in the vault what the forge signs deliveries with. It never comes out."""
    await automation.inbox.secrets.set(body.value.get_secret_value(), keep_former=not body.forget_former)


@router.get("/deliveries")
async def find_deliveries(
    automation: KnownAutomation, _: Admin, limit: Annotated[int, Query(ge=1, le=200)] = 50
) -> list[ForgeDelivery]:
    """Return what the forge told of last, newest first, with what came of it."""
    return [it.as_delivery() for it in await automation.inbox.store.list(limit=limit)]


@router.get("/repositories")
async def find_repositories(
    intake: FrontDoor, _: Member, query: Annotated[str, Query(description="Part of the name.", max_length=200)] = ""
) -> list[ForgeRepository]:
    """Return the repositories that Cloister's login may use, the first thousand."""
    found = await host_of(intake).repositories()
    return [it for it in found if query.lower() in it.name.lower()]


@router.get("/branches")
async def find_branches(repository: Address, intake: FrontDoor, caller: Member) -> list[ForgeBranch]:
    """Return the branches of a repository, the first thousand. Which are protected only the forge can tell."""
    check_repository(repository, caller)
    return list(await intake.repositories.branches(repository, guarded=not caller.on_this_machine))


def host_of(intake: Intake) -> ForgeHost:
    """Return the forge that the settings name. UsageError where there is none."""
    if intake.host is None:
        raise UsageError("this installation has no forge")
    return intake.host
