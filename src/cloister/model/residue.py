"""Residue: what setup left of a secret on the disk, where, and by whom probably."""

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Residue:
    """One file that holds a secret, or could not be searched for them."""

    path: str
    """As the sandbox sees it."""
    names: tuple[str, ...]
    """Of the secrets, sorted; none when the file could not be searched."""
    member: str = ""
    """Of an archive, the one that holds it."""

    @property
    def tool(self) -> str:
        """Who probably wrote it, in a few words; empty when that cannot be told."""
        return next((tool for pattern, tool in _TOOLS if pattern.search(self.path)), "")

    @property
    def can_be_made_again(self) -> bool:
        """Whether it is part of a cache that its tool fills again by itself."""
        return _CACHE.match(self.path) is not None

    def __str__(self) -> str:
        member = f", in {self.member}" if self.member else ""
        by = f"; {self.tool}" if self.tool else ""
        return f"{self.path} ({', '.join(self.names) or 'cannot be searched'}{member}{by})"


_TOOLS = tuple(
    (re.compile(pattern), tool)
    for pattern, tool in (
        (r"/\.npmrc$", "npm's configuration"),
        (r"/\.npm/_logs/", "npm's logs"),
        (r"/\.npm/", "npm's cache"),
        (r"/\.yarnrc(\.yml)?$", "yarn's configuration"),
        (r"/\.netrc$", "curl and git read it"),
        (r"/\.git-credentials$", "git's credential store"),
        (r"/\.gitconfig$|/\.config/git/", "git's configuration"),
        (r"/\.git/(config|FETCH_HEAD|logs/)", "git, from an address with credentials"),
        (r"\.git/(modules/.+/)?objects/", "git, of something that was added or committed"),
        (r"/pip\.conf$|/\.config/pip/|/\.pip/", "pip's configuration"),
        (r"/\.cache/pip/", "pip's cache"),
        (r"/\.cache/uv/|/uv\.toml$", "uv"),
        (r"/\.pypirc$", "twine's configuration"),
        (r"/direct_url\.json$", "pip, of a package installed from an address with credentials"),
        (r"/pypoetry/|/auth\.toml$", "poetry"),
        (r"/\.docker/config\.json$", "docker login"),
        (r"/\.cargo/credentials|/\.cargo/config", "cargo's configuration"),
        (r"/\.m2/settings", "maven's configuration"),
        (r"/\.gradle/", "gradle"),
        (r"/\.gem/credentials$|/\.bundle/config$", "bundler or gem"),
        (r"/auth\.json$", "composer's configuration"),
        (r"/\.aws/", "the AWS tools"),
        (r"/\.config/gh/", "the GitHub command line"),
        (r"_history$", "a history of commands"),
        (r"/\.(bash|zsh)?(rc|_profile|_login)$|/\.profile$|/etc/(environment|profile)", "a line of a shell's start"),
        (r"/core(\.\d+)?$", "memory of a program that crashed"),
        (r"/var/log/|\.log$", "a log"),
    )
)
_CACHE = re.compile(
    r"/root/\.cache/|/root/\.npm/(_cacache|_logs)/|/var/cache/apt/|/var/lib/apt/lists/|/var/log/"
    r"|/root/\.local/share/pnpm/store/|/root/\.yarn/berry/cache/|/usr/local/share/\.cache/|.*/__pycache__/[^/]+\.pyc$"
)
