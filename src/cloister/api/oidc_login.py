"""Logging in by a provider of OpenID Connect: `GET /login/oidc`, and where it sends the browser back to.

State, nonce and the proof of PKCE are made of one secret, which is in a cookie of this browser alone for as long as its
login takes. So an answer that another browser asked for, or that nobody did, is worth nothing here.
"""

import hmac
import re
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import sha256

from fastapi import FastAPI, Request
from fastapi.responses import RedirectResponse, Response
from starlette.requests import HTTPConnection

from cloister.access import Access
from cloister.api.caller import Caller
from cloister.api.cookie import borne_cookie, is_secure, set_cookie, set_session
from cloister.api.failures import address_of
from cloister.api.front import KnownAccess
from cloister.api.gate import LOGIN
from cloister.api.login import back_to_login, end_former, local_path
from cloister.errors import CloisterError, DeniedError, NotFoundError, TooManyFailuresError, UnauthenticatedError

OIDC_LOGIN = f"{LOGIN}/oidc"
CALLBACK = f"{OIDC_LOGIN}/callback"
OIDC_LOGOUT = "/logout/oidc"

_COOKIE = "cloister-login"
_SECONDS = 600
"""For somebody to log in at their provider."""
_VALUE = re.compile(r"([A-Za-z0-9_-]{43})\.([A-Za-z0-9_=-]{0,4000})")


def add_oidc_login(app: FastAPI) -> None:
    """Let the application send browsers to the provider, and take them back."""
    routes = (
        (OIDC_LOGIN, "begin_oidc", _begin),
        (CALLBACK, "log_in_by_oidc", _finish),
        (OIDC_LOGOUT, "leave_oidc", _leave),
    )
    app.state.open_paths |= {path for path, _, _ in routes}
    for path, name, answer in routes:
        app.add_api_route(path, answer, name=name, include_in_schema=False, response_class=Response)


async def _begin(request: Request, access: KnownAccess) -> Response:
    """Send the browser to the provider. It comes back with a code, and goes on to the path `next`."""
    if access.provider is None:
        raise NotFoundError("this server knows no provider of OpenID Connect", hint="set oidc in its settings")
    secret = secrets.token_urlsafe(32)
    try:
        request.app.state.failures.count(request)  # each asks the provider something: nobody begins too many
        url = await access.provider.authorization_url(
            redirect_uri=_redirect_uri(request, access),
            state=_derived(secret, "state"),
            nonce=_derived(secret, "nonce"),
            verifier=_derived(secret, "verifier"),
        )
    except TooManyFailuresError as error:
        return back_to_login(request, error, "often", "/")
    except CloisterError as error:
        return back_to_login(request, error, "provider", "/")
    wanted = local_path(request.query_params.get("next", "/"))[:1000]
    response = RedirectResponse(url, 303)
    value = f"{secret}.{urlsafe_b64encode(wanted.encode()).decode()}"
    set_cookie(response, _COOKIE, value, secure=is_secure(request, access), seconds=_SECONDS)
    return response


async def _finish(request: Request, access: KnownAccess) -> Response:
    """Begin a session for whom the provider says that this is."""
    request.state.is_change = True  # for the audit, although it is a GET
    wanted = "/"
    try:
        if access.provider is None:
            raise NotFoundError("this server knows no provider of OpenID Connect")
        secret, wanted = _pending(request, access)
        identity = await access.provider.identify(
            code=_code(request, secret),
            redirect_uri=_redirect_uri(request, access),
            nonce=_derived(secret, "nonce"),
            verifier=_derived(secret, "verifier"),
        )
        session, text = await access.sessions.log_in_user(await access.users.admit(identity), address_of(request))
    except CloisterError as error:
        denied = isinstance(error, DeniedError) and not isinstance(error, UnauthenticatedError)
        response = back_to_login(request, error, "role" if denied else "provider", wanted)
        set_cookie(response, _COOKIE, "", secure=is_secure(request, access), seconds=0)
        return response
    known = await access.sessions.authenticate(text)
    request.state.caller = Caller(name=known.name, role=known.role, by=f"session {session.id}")
    await end_former(request, access)
    response = RedirectResponse(wanted, 303)
    seconds = (session.expires_at - session.created_at).total_seconds()
    set_session(response, text, secure=is_secure(request, access), seconds=seconds)
    set_cookie(response, _COOKIE, "", secure=is_secure(request, access), seconds=0)
    return response


async def _leave(request: Request, access: KnownAccess) -> Response:
    """Send a browser whose session here is over to where its provider ends its own.

    A link leads here and no form does: browsers let no form's answer lead to another origin (`form-action`).
    """
    if access.provider is None:
        raise NotFoundError("this server knows no provider of OpenID Connect")
    try:
        request.app.state.failures.count(request)
        url = await access.provider.logout_url(back=_origin(request, access) + LOGIN)
    except TooManyFailuresError as error:
        return back_to_login(request, error, "often", "/")
    except CloisterError as error:
        return back_to_login(request, error, "provider", "/")
    return RedirectResponse(f"{LOGIN}?problem=stays" if url is None else url, 303)


def _pending(request: Request, access: Access) -> tuple[str, str]:
    """Return the secret of the login that this browser has begun, and where it wanted to go."""
    match = _VALUE.fullmatch(borne_cookie(request, access, _COOKIE) or "")
    if match is None:
        raise UnauthenticatedError("this browser has begun no login, or too long ago", hint="log in again")
    try:
        return match[1], local_path(urlsafe_b64decode(match[2]).decode())
    except ValueError as error:
        raise UnauthenticatedError("this browser's login cannot be read", hint="log in again") from error


def _code(request: Request, secret: str) -> str:
    """Return the code of an answer that this browser's login asked for."""
    query = request.query_params
    if not hmac.compare_digest(query.get("state", "").encode(), _derived(secret, "state").encode()):
        raise UnauthenticatedError("this browser asked for no such answer", hint="log in again")
    if "code" not in query:
        raise UnauthenticatedError(f"the provider let nobody in: {query.get('error', 'it does not say why')[:100]}")
    return query["code"]


def _derived(secret: str, purpose: str) -> str:
    digest = hmac.new(secret.encode(), purpose.encode(), sha256).digest()
    return urlsafe_b64encode(digest).decode().rstrip("=")


def _redirect_uri(request: HTTPConnection, access: Access) -> str:
    return _origin(request, access) + CALLBACK


def _origin(request: HTTPConnection, access: Access) -> str:
    return access.public_url or f"{request.url.scheme}://{request.headers.get('host', '')}"
