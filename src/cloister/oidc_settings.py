"""`[oidc]`: the table of settings about a provider of OpenID Connect."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from cloister.errors import UsageError
from cloister.model.token import Role

Text = Annotated[str, Field(min_length=1, max_length=500)]


class OidcTable(BaseModel):
    """Where people log in, and what their groups may do here."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, use_attribute_docstrings=True)

    issuer: Text
    """The provider's name for itself, exactly: an https URL."""
    client_id: Text
    """What it knows this server by."""
    client_secret: SecretStr | None = None
    """What it knows that it is this server by; none for a public client."""
    client_secret_file: Path | None = None
    """File with that secret, in its place."""
    scopes: tuple[Text, ...] = ("openid", "profile", "email")
    role_claim: Text = "groups"
    """Claim with somebody's groups; with dots, the way to it: `realm_access.roles`."""
    name_claim: Text = "preferred_username"
    """Claim with what somebody is called here."""
    admins: tuple[Text, ...] = ()
    """Groups whose people are admins; `*` is everybody whom the provider knows."""
    members: tuple[Text, ...] = ()
    viewers: tuple[Text, ...] = ()

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if not self.issuer.startswith(("https://", "http://127.0.0.1:", "http://localhost:", "http://[::1]:")):
            raise ValueError("issuer must be an https URL")
        if self.client_secret is not None and self.client_secret_file is not None:
            raise ValueError("client_secret and client_secret_file exclude each other")
        if "openid" not in self.scopes:
            raise ValueError("scopes must have openid among them")
        if not (self.admins or self.members or self.viewers):
            raise ValueError("admins, members or viewers must name a group: else nobody has a role")
        return self

    @property
    def rules(self) -> Mapping[Role, Sequence[str]]:
        """Which groups have which role."""
        return {Role.ADMIN: self.admins, Role.MEMBER: self.members, Role.VIEWER: self.viewers}

    def secret(self) -> str | None:
        """Return the client's secret, wherever it is. UsageError when its file cannot be read."""
        if self.client_secret_file is None:
            return self.client_secret.get_secret_value() if self.client_secret else None
        try:
            return self.client_secret_file.read_text().strip()
        except (OSError, UnicodeError) as error:
            raise UsageError(f"oidc: cannot read {self.client_secret_file}: {error}") from error
