"""Providers of models: keys go in, and never come out."""

from fastapi import APIRouter, status
from pydantic import SecretStr

from cloister.api.body import Body
from cloister.api.caller import Admin, Viewer
from cloister.api.front import FrontDoor
from cloister.model.model_provider import ListedProvider

router = APIRouter(prefix="/models", tags=["models"])


class KeyBody(Body):
    """A provider's key."""

    key: SecretStr


@router.get("")
async def find(intake: FrontDoor, _: Viewer) -> list[ListedProvider]:
    """Return the providers, those of the settings first, and where their keys are."""
    return list(await intake.models.list())


@router.put("/{provider}/key", status_code=status.HTTP_204_NO_CONTENT)
async def put_key(provider: str, body: KeyBody, intake: FrontDoor, _: Admin) -> None:
    """Keep a provider's key in the vault."""
    await intake.models.set_key(provider, body.key.get_secret_value())


@router.delete("/{provider}/key", status_code=status.HTTP_204_NO_CONTENT)
async def remove_key(provider: str, intake: FrontDoor, _: Admin) -> None:
    """Forget a provider's key."""
    await intake.models.remove_key(provider)
