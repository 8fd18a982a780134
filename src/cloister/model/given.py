"""Files and images that come with a prompt: what may come, and how the agent finds them."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

GIVEN = "/cloister/in/given"
"""Where the agent finds them; nobody in the sandbox can write there."""
MOST_GIVEN = 20
LARGEST_GIVEN_BYTES = 10 * 1024 * 1024
LARGEST_TOGETHER_BYTES = 32 * 1024 * 1024
IMAGE_KINDS = "PNG, JPEG, GIF or WebP"

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+", re.ASCII)
_LONGEST_NAME = 100
_IMAGE = re.compile(rb"\x89PNG\r\n\x1a\n|\xff\xd8\xff|GIF8[79]a|RIFF....WEBP", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A file as a caller gives it; nothing in it has been checked."""

    name: str
    data: bytes = field(repr=False)
    image: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenFile:
    """A file that was kept with a task."""

    name: str
    """Of its own in the task: letters, digits and `. _ -`."""
    size_bytes: int
    sha256: str
    image: bool = False

    @property
    def path(self) -> str:
        """Where the agent finds it."""
        return f"{GIVEN}/{self.name}"


def is_image(data: bytes) -> bool:
    """Whether this begins as a picture of one of IMAGE_KINDS does."""
    return _IMAGE.match(data) is not None


def safe_names(names: Sequence[str], *, taken: Iterable[str] = ()) -> list[str]:
    """Return a name for each of these that is safe everywhere and that no other has, nor one `taken`; in order."""
    others = {name.lower() for name in taken}
    return [_unlike(_safe_name(name), others) for name in names]


def safe_paths(paths: Sequence[str]) -> list[str]:
    """As `safe_names`, folders kept."""
    taken: set[str] = set()
    return [_unlike("/".join(_safe_name(part) for part in path.split("/")), taken) for path in paths]


def _safe_name(name: str) -> str:
    """Without folders, and without what a shell, a terminal or a file system could take for something else."""
    stem, dot, ending = _UNSAFE.sub("_", name.replace("\\", "/").rpartition("/")[2]).lstrip("._-").rpartition(".")
    if not dot:
        return ending[:_LONGEST_NAME] or "file"
    ending = ending[:20]
    return f"{stem[: _LONGEST_NAME - 21]}.{ending}"


def _unlike(name: str, taken: set[str]) -> str:
    stem, dot, ending = name.rpartition(".")
    first, rest = (stem, f".{ending}") if dot else (name, "")
    number = 1
    while name.lower() in taken:
        number += 1
        name = f"{first}-{number}{rest}"
    taken.add(name.lower())
    return name
