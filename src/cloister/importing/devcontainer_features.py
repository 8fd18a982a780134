"""Features of development containers (https://containers.dev/features): programs that are added to an image."""

from cloister.environment_schema import languages
from cloister.importing.draft import Draft
from cloister.importing.versions import find_version

_OFFICIAL = "ghcr.io/devcontainers/features/"
_APT = "install Debian's: apt-get install --yes {}"
_HINTS = {
    "aws-cli": _APT.format("awscli"),
    "common-utils": "not needed: the image has what is common",
    "conda": "conda is not supported; install what it names with [setup] script",
    "docker-from-docker": "there is no Docker in a sandbox",
    "docker-in-docker": "there is no Docker in a sandbox; services of Debian's are started in [services]",
    "docker-outside-of-docker": "there is no Docker in a sandbox; services of Debian's are started in [services]",
    "git": "not needed: the image has git",
    "git-lfs": _APT.format("git-lfs"),
    "github-cli": _APT.format("gh"),
    "mysql": _APT.format("mariadb-server") + ", and start it in [services]",
    "nix": "install it with [setup] script",
    "postgres": _APT.format("postgresql") + ", and start it in [services]",
    "postgresql": _APT.format("postgresql") + ", and start it in [services]",
    "redis": _APT.format("redis-server") + ", and start it in [services]",
    "redis-server": _APT.format("redis-server") + ", and start it in [services]",
    "sshd": "nothing outside reaches a sandbox",
}
_PACKAGES = {
    "go": "golang-go",
    "java": "default-jdk-headless",
    "php": "php-cli composer",
    "ruby": "ruby ruby-dev",
    "rust": "cargo",
}


def take_feature(reference: str, options: object, draft: Draft) -> None:
    """Take a language's version; say of everything else how it is installed here."""
    name = reference.rpartition("/")[2].partition(":")[0].partition("@")[0]
    where = f"features, {reference}"
    asked = options.get("version", "") if isinstance(options, dict) else options
    if reference.startswith(_OFFICIAL) and name in languages():
        version = find_version(str(asked))
        if version is not None:
            draft.set_version(name, version, where)
            return
        more = f"; where it has none: apt-get install --yes {_PACKAGES[name]}" if name in _PACKAGES else ""
        draft.leave(where, f"names no single version; the image's own {name} is used{more}")
        return
    draft.leave(where, f"features are not installed; {_HINTS.get(name, 'install it with [setup] script')}")
