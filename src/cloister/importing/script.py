"""Puts a bash script together from commands that were written for another machine."""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cloister.importing.draft import clean, on_one_line

_APT_INSTALL = re.compile(r"\bapt(?:-get)?\s+(?:-\S+\s+)*install\b")
_APT_UPDATE = re.compile(r"\bapt(?:-get)?\s+(?:-\S+\s+)*update\b")
_SUDO = """\
# The commands call sudo; setup is root already.
command -v sudo >/dev/null || install -m 755 /dev/stdin /usr/local/bin/sudo <<'SUDO'
#!/bin/bash
user=root
while [[ ${1-} == -* ]]; do
  case $1 in
    -u | --user) user=$2; shift 2 ;;
    --) shift; break ;;
    *) shift ;;
  esac
done
[[ $user == root ]] && exec env -- "$@"
exec runuser -u "$user" -- env -- "$@"
SUDO"""
_PYTHON = """\
command -v python >/dev/null || ln -s "$(command -v python3)" /usr/local/bin/python"""
_UPDATE = "apt-get -qq update"
_CARRY = """\
# What steps write to these files holds for the steps after them, and for the agent by ~/.bashrc.
export GITHUB_ENV=/tmp/github-env GITHUB_PATH=/tmp/github-path
carry() {
  while IFS= read -r line; do
    printf 'export PATH=%q:"$PATH"\\n' "$line"
  done <"$GITHUB_PATH" >/tmp/github-carried
  while IFS= read -r line; do
    [[ $line != *=* ]] || printf 'export %s=%q\\n' "${line%%=*}" "${line#*=}"
  done <"$GITHUB_ENV" >>/tmp/github-carried
  . /tmp/github-carried
  cat /tmp/github-carried >>~/.bashrc
  truncate --size=0 "$GITHUB_ENV" "$GITHUB_PATH"
}
touch "$GITHUB_ENV" "$GITHUB_PATH\""""
_OF_RUNNER = {
    "GITHUB_OUTPUT": "/dev/null",
    "GITHUB_STEP_SUMMARY": "/dev/null",
    "GITHUB_WORKSPACE": '"$PWD"',
    "RUNNER_OS": "Linux",
    "RUNNER_TEMP": "/tmp",
}
"""Variables that GitHub's runner sets, for steps that read them."""
_CARRIED = re.compile(r"\bGITHUB_(?:ENV|PATH)\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """Commands that ran in a shell of their own."""

    title: str
    """Where they come from; anybody's text."""
    body: str
    """Bash, taken over as it is."""
    folder: str | None = None
    """Where they run, from the root of the repository."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """Name to its value as bash writes it, quotes included."""
    options: Sequence[str] = ()
    """Lines that go before the commands."""
    may_fail: bool = False


def assemble(sections: Sequence[Section], *, exports: Mapping[str, str] | None = None, also: str = "") -> str | None:
    """Return the script; None without sections. `also` is other text whose needs are met: services' commands."""
    if not sections:
        return None
    bodies = "\n".join([*(section.body for section in sections), also])
    parts = _preludes(bodies)
    if exports:
        parts.append("\n".join(f"export {name}={value}" for name, value in exports.items()))
    if _CARRIED.search(bodies):
        parts.append(_CARRY)
    parts += [_render(section, carry=bool(_CARRIED.search(section.body))) for section in sections]
    return "\n\n".join(parts) + "\n"


def in_double_quotes(text: str) -> str:
    """Return text so that it stands for itself between bash's double quotes."""
    return re.sub(r'([\\"$`])', r"\\\1", clean(text))


def _preludes(bodies: str) -> list[str]:
    parts = []
    if re.search(r"\bsudo\b", bodies):
        parts.append(_SUDO)
    if re.search(r"\bpython\b(?!3)", bodies):
        parts.append(_PYTHON)
    if set_by_runner := [name for name in _OF_RUNNER if name in bodies]:
        parts.append("export " + " ".join(f"{name}={_OF_RUNNER[name]}" for name in set_by_runner))
    if _APT_INSTALL.search(bodies) and not _APT_UPDATE.search(bodies):
        parts.append(_UPDATE)
    return parts


def _render(section: Section, *, carry: bool) -> str:
    body = clean(section.body).strip("\n")
    lines = [
        *section.options,
        *([f"cd -- {shlex.quote(section.folder)}"] if section.folder else []),
        *(f"export {name}={value}" for name, value in section.variables.items()),
        body,
    ]
    heading = f"# {on_one_line(section.title)}"
    after = ["carry"] if carry else []
    if section.may_fail:  # `|| true` would take the subshell's own -e away
        return "\n".join([heading, "set +e", "(", "set -e", *lines, ")", "set -e", *after])
    return "\n".join([heading, "(", *lines, ")", *after])
