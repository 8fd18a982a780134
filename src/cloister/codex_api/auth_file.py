"""The file in which the `codex` client looks for who it is."""

import json
import os
from base64 import urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cloister.errors import ConflictError, UsageError
from cloister.model.token import Token

FILE_NAME = "auth.json"

_FOR_EVER = timedelta(days=3650)
"""Of a token that does not expire: the client wants a time, and asks elsewhere for another token when it is past."""


def write_auth_file(home: Path, token: Token, text: str) -> Path:
    """Write the file for a token into `home`, a CODEX_HOME, for its owner alone, and return its path.

    ConflictError when there is one: it may hold somebody's login. UsageError when it cannot be written.
    """
    path = home / FILE_NAME
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except FileExistsError as error:
        raise ConflictError(
            f"{path} is there already, and may hold a login", hint="name a directory of its own"
        ) from error
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        json.dump(_content(token, text), file, indent=2)
    return path


def _content(token: Token, text: str) -> dict[str, object]:
    """Return what the client reads. Its tokens have the form of a JWT, whose last part here is the token itself."""
    account = f"cloister-{token.id}"
    claims = {
        "exp": int((token.expires_at or datetime.now(UTC) + _FOR_EVER).timestamp()),
        "email": f"{token.id}@cloister.invalid",
        "https://api.openai.com/auth": {"chatgpt_account_id": account},
    }
    jwt = ".".join([_part({"alg": "none", "typ": "JWT"}), _part(claims), text])
    tokens = {"id_token": jwt, "access_token": jwt, "refresh_token": "none", "account_id": account}
    return {
        "auth_mode": "chatgpt",
        "OPENAI_API_KEY": None,
        "tokens": tokens,
        "last_refresh": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    }


def _part(value: object) -> str:
    return urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()
