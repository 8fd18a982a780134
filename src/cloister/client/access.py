"""What is asked of callers: tokens, users, and the audit of what they did."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime

from cloister.api.wire import NewToken
from cloister.client.connection import Connection, path_part, read_as
from cloister.model.audit import AuditEntry, AuditFilter
from cloister.model.token import Role, Token
from cloister.model.user import User


class AccessCalls(Connection):
    """Tokens, users and the audit."""

    __slots__ = ()

    async def create_token(
        self, name: str, role: Role = Role.MEMBER, *, lifetime_seconds: float | None = None
    ) -> tuple[Token, str]:
        """Make a token, and return it with the text that its holder sends, which cannot be had again."""
        fields = {"name": name, "role": role, "lifetime_seconds": lifetime_seconds}
        made = read_as(NewToken, await self._call("POST", "/tokens", fields))
        return made.about, made.token

    async def tokens(self) -> Sequence[Token]:
        """All tokens, newest first, also those that nobody is let in with any more."""
        return read_as(list[Token], await self._call("GET", "/tokens"))

    async def revoke_token(self, token: str) -> Token:
        """Let nobody in with a token any more."""
        return read_as(Token, await self._call("DELETE", f"/tokens/{path_part(token)}"))

    async def users(self) -> Sequence[User]:
        """Everybody who has logged in by a provider of OpenID Connect, by name."""
        return read_as(list[User], await self._call("GET", "/users"))

    async def set_user_disabled(self, user: str, *, disabled: bool) -> User:
        """Let nobody in as a user any more, or do again."""
        return read_as(User, await self._call("PUT", f"/users/{path_part(user)}", {"disabled": disabled}))

    async def audit(self, wanted: AuditFilter, *, limit: int = 100, before: int | None = None) -> Sequence[AuditEntry]:
        """Who asked for which change, newest first, and what was refused to whom; those numbered below `before`."""
        given = {**asdict(wanted), "limit": limit, "cursor": before}
        query = {name: value for name, value in given.items() if value is not None}
        times = {name: value.isoformat() for name, value in query.items() if isinstance(value, datetime)}
        return read_as(list[AuditEntry], (await self._call("GET", "/audit", query=query | times))["items"])
