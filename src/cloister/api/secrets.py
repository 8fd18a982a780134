"""Secrets of environments: their values go in, and never come out."""

from typing import Annotated

from fastapi import APIRouter, Query, status
from pydantic import BaseModel, SecretStr

from cloister.api.body import Body
from cloister.api.caller import Admin, Viewer
from cloister.api.front import FrontDoor
from cloister.model.secret import BrokerRule, KeptSecret

router = APIRouter(prefix="/secrets", tags=["secrets"])

Environment = Annotated[str, Query(description="Name of the environment; by default a repository's address.")]


class SecretBody(Body):
    """A secret's value, and of a brokered one its rule."""

    environment: str
    name: str
    value: SecretStr
    rule: BrokerRule | None = None


class Rotated(BaseModel):
    """How many sealed values were wrapped anew."""

    values: int


class RecordKey(BaseModel):
    """What verifies signed records."""

    pem: str
    """The public key (SubjectPublicKeyInfo)."""


@router.put("", status_code=status.HTTP_204_NO_CONTENT)
async def put(body: SecretBody, intake: FrontDoor, _: Admin) -> None:
    """Keep a value; with a rule, for the proxy alone."""
    await intake.set_secret(body.environment, body.name, body.value.get_secret_value(), body.rule)


@router.get("")
async def find(environment: Environment, intake: FrontDoor, _: Viewer) -> list[KeptSecret]:
    """Return what is kept for an environment, by name, without the values."""
    return list(await intake.secrets(environment))


@router.delete("", status_code=status.HTTP_204_NO_CONTENT)
async def remove(environment: Environment, name: Annotated[str, Query()], intake: FrontDoor, _: Admin) -> None:
    """Forget a secret."""
    await intake.remove_secret(environment, name)


@router.post("/rotate-key")
async def rotate_key(intake: FrontDoor, _: Admin) -> Rotated:
    """Replace the master key."""
    return Rotated(values=await intake.rotate_key())


@router.get("/record-key")
async def record_key(intake: FrontDoor, _: Viewer) -> RecordKey:
    """Return the public key that verifies this installation's signed records."""
    return RecordKey(pem=await intake.record_key())
