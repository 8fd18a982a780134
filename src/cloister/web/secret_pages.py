"""Secrets of an environment, as forms of its page: values go in, and never come out."""

from typing import Annotated

from fastapi import APIRouter, Form
from fastapi.responses import RedirectResponse, Response
from pydantic import BaseModel, SecretStr

from cloister.api.caller import Admin
from cloister.api.front import FrontDoor
from cloister.model.secret import BrokerRule, SecretMode
from cloister.web.page import PageRoute

router = APIRouter(prefix="/environments", tags=["secrets"], route_class=PageRoute, include_in_schema=False)


class SecretForm(BaseModel):
    """A secret, as the form has it."""

    name: str
    value: SecretStr
    mode: SecretMode = SecretMode.SETUP
    hosts: str = ""
    """Domains, with blanks or commas between them."""
    header: str = "Authorization"
    format: str = "Bearer {}"
    query: str = ""
    """A query parameter, in place of the header."""
    methods: str = ""
    paths: str = ""

    @property
    def rule(self) -> BrokerRule | None:
        """Where a brokered one goes."""
        if self.mode is not SecretMode.BROKERED:
            return None
        query = self.query.strip() or None
        return BrokerRule(
            hosts=_words(self.hosts),
            header=None if query else self.header.strip(),
            format="{}" if query else self.format,
            query=query,
            methods=_words(self.methods.upper()) or None,
            paths=_words(self.paths) or ("/",),
        )


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.replace(",", " ").split())


@router.post("/{name}/secrets", response_class=Response)
async def put(name: str, intake: FrontDoor, _: Admin, asked: Annotated[SecretForm, Form()]) -> Response:
    """Keep a value, in place of a former one."""
    await intake.environments.get(name)
    value = asked.value.get_secret_value().replace("\r\n", "\n")
    await intake.set_secret(name, asked.name.strip(), value, asked.rule)
    return RedirectResponse(f"/environments/{name}#secrets", 303)


@router.post("/{name}/secrets/remove", response_class=Response)
async def remove(name: str, intake: FrontDoor, _: Admin, secret: Annotated[str, Form()]) -> Response:
    """Forget a secret."""
    await intake.remove_secret(name, secret)
    return RedirectResponse(f"/environments/{name}#secrets", 303)
