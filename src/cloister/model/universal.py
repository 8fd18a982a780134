"""OpenAI's universal image (github.com/openai/codex-universal): its own script chooses versions before setup.

The script reads `CODEX_ENV_<LANGUAGE>_VERSION` and notes in the home directory and in /etc/profile what it chose, so
that login shells have it: what the image's own entry point does, setup and agent do here.
"""

from collections.abc import Mapping, Sequence

SCRIPT = "/opt/codex/setup_universal.sh"
NOTE = f"versions are chosen by the image's own {SCRIPT}"


def version_variables(versions: Mapping[str, str]) -> Mapping[str, str]:
    """Return `[versions]` as the script reads them."""
    return {f"CODEX_ENV_{language.upper()}_VERSION": version for language, version in versions.items()}


def after_script(command: Sequence[str]) -> tuple[str, ...]:
    """Return a command line that runs the image's script, and then the command in its place."""
    return ("/bin/bash", "-c", f'{SCRIPT} && exec "$@"', "bash", *command)


def in_login_shell(command: Sequence[str], path: Sequence[str]) -> tuple[str, ...]:
    """Return a command line that has what login shells have; `path` goes before the PATH that the profile made."""
    front = "".join(f"{folder}:" for folder in path)
    return ("/bin/bash", "--login", "-c", 'PATH="$1$PATH"; shift; exec "$@"', "bash", front, *command)
