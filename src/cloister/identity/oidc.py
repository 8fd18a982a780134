"""A provider of OpenID Connect, by the authorization code flow with PKCE (OpenID Connect Core 1.0, 3.1; RFC 7636)."""

import ssl
from base64 import b64encode
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any
from urllib.parse import quote_plus, urlencode, urlsplit

import httpx
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri, prepare_token_request
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from cloister.errors import UnauthenticatedError, UnreachableError
from cloister.model.user import Identity
from cloister.protocols import IdentityProvider

SKEW_SECONDS = 60
"""How far the provider's clock may be from ours."""

_TIMEOUT_SECONDS = 20.0
_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519")
"""By key pairs alone: a signature by a shared secret, or none at all, is no provider's word to us."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OidcClient:
    """What a provider knows us by, and what of its words we go by."""

    issuer: str
    client_id: str
    client_secret: str | None
    scopes: Sequence[str]
    role_claim: str
    """Name of the claim with groups; with dots, the way to it."""
    name_claim: str

    def __repr__(self) -> str:
        return f"OidcClient({self.issuer!r}, {self.client_id!r})"


class OidcProvider:
    """`IdentityProvider` at an issuer. What it publishes of itself is read anew at each login: keys change."""

    def __init__(self, client: OidcClient, *, authorities: str = "") -> None:
        """`authorities` are certificates (PEM) that may vouch for it, beside the host's own."""
        self._client = client
        self._trusted = ssl.create_default_context()
        if authorities:
            self._trusted.load_verify_locations(cadata=authorities)

    async def authorization_url(self, *, redirect_uri: str, state: str, nonce: str, verifier: str) -> str:
        """Return where a browser is sent to log in. UnreachableError, UnauthenticatedError."""
        about = await self._discover()
        url: str = prepare_grant_uri(
            about["authorization_endpoint"],
            self._client.client_id,
            "code",
            redirect_uri=redirect_uri,
            scope=" ".join(self._client.scopes),
            state=state,
            nonce=nonce,
            code_challenge=create_s256_code_challenge(verifier),
            code_challenge_method="S256",
        )
        return url

    async def identify(self, *, code: str, redirect_uri: str, nonce: str, verifier: str) -> Identity:
        """Exchange a code, and return whom it is about. UnauthenticatedError, UnreachableError."""
        about = await self._discover()
        body = prepare_token_request(
            "authorization_code", code=code, redirect_uri=redirect_uri, code_verifier=verifier, **self._in_body(about)
        )
        async with self._http() as http:
            answer = await self._exchange(http, about, body)
            keys = await self._read(http, about["jwks_uri"])
            claims = self._believe(str(answer.get("id_token", "")), keys, nonce)
            if _find(claims, self._client.role_claim) is None and "userinfo_endpoint" in about:
                more = await self._read(http, about["userinfo_endpoint"], bearer=str(answer.get("access_token")))
                claims = {**more, **claims} if more.get("sub") == claims["sub"] else claims
        return self._identity(claims)

    async def logout_url(self, *, back: str) -> str | None:
        """Return where a browser is sent to log out (OpenID Connect RP-Initiated Logout 1.0, 2)."""
        about = await self._discover()
        place = about.get("end_session_endpoint")
        if not is_safe_url(place):
            return None
        asked = urlencode({"client_id": self._client.client_id, "post_logout_redirect_uri": back})
        return f"{place}{'&' if '?' in str(place) else '?'}{asked}"

    def _identity(self, claims: Mapping[str, Any]) -> Identity:
        names = (claims.get(name) for name in (self._client.name_claim, "preferred_username", "email", "name", "sub"))
        return Identity(
            issuer=self._client.issuer,
            subject=claims["sub"],
            name=next(name for name in names if isinstance(name, str) and name),
            groups=_strings(_find(claims, self._client.role_claim)),
        )

    def _believe(self, token: str, keys: Mapping[str, Any], nonce: str) -> Mapping[str, Any]:
        """Return the claims of an ID token (OpenID Connect Core 1.0, 3.1.3.7). UnauthenticatedError."""
        registry = jwt.JWTClaimsRegistry(
            leeway=SKEW_SECONDS,
            iss={"essential": True, "value": self._client.issuer},
            aud={"essential": True, "value": self._client.client_id},
            exp={"essential": True},
            iat={"essential": True},
            sub={"essential": True},
            nonce={"essential": True, "value": nonce},
        )
        try:
            claims = jwt.decode(token, KeySet.import_key_set(keys), algorithms=list(_ALGORITHMS)).claims  # type: ignore[arg-type]
            registry.validate(claims)
        except (JoseError, ValueError, TypeError, KeyError) as error:
            raise _unbelievable(error) from error
        others = [one for one in _strings(claims["aud"]) if one != self._client.client_id]
        if claims.get("azp", self._client.client_id) != self._client.client_id or (others and "azp" not in claims):
            raise _unbelievable("it was made for another application")
        if not isinstance(claims["sub"], str) or not claims["sub"]:
            raise _unbelievable("it is about nobody")
        return claims

    async def _discover(self) -> Mapping[str, Any]:
        """Read what it publishes of itself (OpenID Connect Discovery 1.0, 4)."""
        async with self._http() as http:
            about = await self._read(http, self._client.issuer.rstrip("/") + "/.well-known/openid-configuration")
        if about.get("issuer") != self._client.issuer:
            raise _unbelievable(f"it calls itself {about.get('issuer')!r}, not {self._client.issuer!r}")
        for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
            if not is_safe_url(about.get(name)):
                raise _unbelievable(f"its {name} is no https URL")
        return {name: value for name, value in about.items() if name != "userinfo_endpoint" or is_safe_url(value)}

    async def _read(self, http: httpx.AsyncClient, url: str, *, bearer: str | None = None) -> Mapping[str, Any]:
        headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
        response = await _asked(http.get(url, headers=headers))
        found = _object(response)
        if found is None or not response.is_success:
            raise UnreachableError(f"{url} answered {response.status_code}, with nothing that can be read")
        return found

    def _http(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(verify=self._trusted, timeout=_TIMEOUT_SECONDS)

    async def _exchange(self, http: httpx.AsyncClient, about: Mapping[str, Any], body: str) -> Mapping[str, Any]:
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        secret = self._client.client_secret
        if secret is not None and not self._in_body(about):  # RFC 6749, 2.3.1
            text = f"{quote_plus(self._client.client_id)}:{quote_plus(secret)}"
            headers["Authorization"] = "Basic " + b64encode(text.encode()).decode()
        response = await _asked(http.post(about["token_endpoint"], content=body, headers=headers))
        answer = _object(response)
        if answer is None or not response.is_success:
            told = str((answer or {}).get("error", response.status_code))[:100]
            raise _unbelievable(f"it did not take the code: {told}")
        return answer

    def _in_body(self, about: Mapping[str, Any]) -> Mapping[str, str]:
        """Return what of us is said in the body of a request for tokens: nothing where it goes into a header."""
        secret = self._client.client_secret
        if secret is None:
            return {"client_id": self._client.client_id}
        ways = about.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        if "client_secret_basic" in ways:
            return {}
        return {"client_id": self._client.client_id, "client_secret": secret}


_: type[IdentityProvider] = OidcProvider


def is_safe_url(url: object) -> bool:
    """Whether what is sent there is read by nobody on the way."""
    if not isinstance(url, str):
        return False
    parts = urlsplit(url)
    return bool(parts.hostname) and (parts.scheme == "https" or (parts.scheme == "http" and _is_near(parts.hostname)))


def _is_near(host: str | None) -> bool:
    try:
        return host == "localhost" or ip_address(host or "").is_loopback
    except ValueError:
        return False


async def _asked(answer: Awaitable[httpx.Response]) -> httpx.Response:
    try:
        return await answer
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        reason = str(error) or type(error).__name__
        raise UnreachableError(f"the provider of OpenID Connect does not answer: {reason}") from error


def _object(response: httpx.Response) -> Mapping[str, Any] | None:
    """Return the JSON object that it holds; None when it is none."""
    try:
        found = response.json()
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _find(claims: Mapping[str, Any], name: str) -> Any:
    """Return a claim, by its own name or by the way to it; None when it is not there."""
    if name in claims:
        return claims[name]
    found: Any = claims
    for part in name.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def _strings(value: Any) -> tuple[str, ...]:
    parts = [value] if isinstance(value, str) else value if isinstance(value, list) else []
    return tuple(part for part in parts if isinstance(part, str))


def _unbelievable(reason: object) -> UnauthenticatedError:
    return UnauthenticatedError(f"what the provider of OpenID Connect said is not to be believed: {reason}")
