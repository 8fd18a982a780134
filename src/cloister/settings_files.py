"""The files and variables that settings are read from, and which of them are at fault."""

import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import platformdirs
from pydantic import ValidationError

from cloister.errors import UsageError
from cloister.github_settings import with_github_variables
from cloister.model_settings import with_variables
from cloister.settings import VARIABLE_PREFIX, Settings
from cloister.toml_document import TomlDocument, TomlSyntaxError, parse_toml, problems_of

FILE_NAME = "cloister.toml"


def load_settings(config: Path | None = None) -> Settings:
    """Read `config`, or else the system's file and the user's over it; CLOISTER_ variables win over both.

    Raises UsageError, which names file and line, or the variable.
    """
    documents = [document for path in settings_files(config) if (document := _read(path, required=config is not None))]
    values: dict[str, Any] = {}
    for document in documents:
        values.update(document.data, **_merged_models(values, document))
    values["models"] = with_variables(values.get("models", {}), os.environ)
    values["github"] = with_github_variables(values.get("github", {}), os.environ)
    try:
        settings = Settings(**values)
    except ValidationError as error:
        raise UsageError(_explain(error, documents, os.environ)) from error
    settings = settings.with_sources(_sources(documents, os.environ))
    if settings.upstream_proxy is not None and settings.upstream_proxy.credentials is not None:
        _check_privacy(documents, "upstream_proxy", "a password")
    _check_models(settings, documents)
    if settings.oidc is not None and settings.oidc.client_secret is not None:
        _check_privacy(documents, "oidc", "the secret of a client")
    if settings.github.webhook_secret is not None and "CLOISTER_GITHUB_WEBHOOK_SECRET" not in os.environ:
        _check_privacy(documents, "github", "the secret of a webhook")
    return settings


def _sources(documents: Sequence[TomlDocument], environ: Mapping[str, str]) -> Mapping[str, str]:
    """Return by setting where it was written: of a table, all places that have a part of it."""
    found = {}
    for name in Settings.model_fields:
        is_table = name in ("models", "github")
        files = [document.source for document in documents if name in document.data]
        variable = VARIABLE_PREFIX + name.upper()
        parts = sorted(each for each in environ if is_table and each.startswith(f"{variable}_"))
        variables = [variable] if variable in environ else parts
        places = [*files, *variables] if is_table else [*variables, *files[-1:]][:1]
        if places:
            found[name] = ", ".join(places)
    return found


def _merged_models(values: Mapping[str, Any], document: TomlDocument) -> dict[str, Any]:
    """Of two files, the later one replaces the tables of the providers that it names."""
    former, later = values.get("models"), document.data.get("models")
    return {"models": {**former, **later}} if isinstance(former, dict) and isinstance(later, dict) else {}


def _check_models(settings: Settings, documents: Sequence[TomlDocument]) -> None:
    """Refuse providers that cannot be, and files with a key that every user of this machine can read."""
    try:
        _ = settings.providers
    except ValueError as error:
        sources = [document.source for document in documents if "models" in document.data]
        raise UsageError(f"{sources[-1] if sources else VARIABLE_PREFIX + 'MODELS'}: {error}") from error
    for document in documents:
        tables = document.data.get("models")
        has_key = isinstance(tables, dict) and any("key" in table for table in tables.values())
        if has_key and Path(document.source).stat().st_mode & stat.S_IROTH:
            raise UsageError(
                f"{document.source}: everyone on this machine can read it, and it has a key of a provider",
                hint=f"chmod o= {document.source}",
            )


def _check_privacy(documents: Sequence[TomlDocument], key: str, what: str) -> None:
    """Refuse a file with something secret that every user of this machine can read."""
    for document in documents:
        if key in document.data and Path(document.source).stat().st_mode & stat.S_IROTH:
            raise UsageError(
                f"{document.source}: everyone on this machine can read it, and {key} has {what}",
                hint=f"chmod o= {document.source}",
            )


def settings_files(config: Path | None) -> tuple[Path, ...]:
    """Return where settings are read from: `config` alone, or the system's file and the user's, which wins."""
    if config is not None:
        return (config,)
    return (Path("/etc/cloister") / FILE_NAME, platformdirs.user_config_path("cloister") / FILE_NAME)


def _read(path: Path, *, required: bool) -> TomlDocument | None:
    try:
        return parse_toml(path.read_bytes(), source=str(path))
    except FileNotFoundError as error:
        if required:
            raise UsageError(f"there is no settings file {path}") from error
        return None
    except OSError as error:
        raise UsageError(f"cannot read the settings file {path}: {error.strerror}") from error
    except TomlSyntaxError as error:
        raise UsageError(str(error)) from error


def _explain(error: ValidationError, documents: list[TomlDocument], environ: Mapping[str, str]) -> str:
    """Say what is wrong where it was written: in a variable, or in the last file that has the key."""
    told = []
    for problem in problems_of(error, Settings):
        key = problem.path[0] if problem.path else ""
        variable = VARIABLE_PREFIX + key.upper()
        source = next((document for document in reversed(documents) if key in document.data), None)
        if variable in environ or source is None:
            told.append(f"{variable}: {problem.message}")
        else:
            told.append(source.describe([problem]))
    return "\n".join(told)
