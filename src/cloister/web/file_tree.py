"""The files of a change as a tree of folders. A folder that holds nothing but one folder is written with it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from cloister.web.diff_view import FileDiff

DEEPEST = 20
"""Folders in each other; what is below is one name."""


@dataclass(slots=True)
class Folder:
    """What lies in one place; its files, and those of all below it, keep the diff's order."""

    name: str = ""
    folders: list["Folder"] = field(default_factory=list)
    files: list[tuple[str, FileDiff]] = field(default_factory=list)
    """Each with its name in this folder."""

    @property
    def is_flagged(self) -> bool:
        """Whether somebody should look at something in it."""
        return any(file.flags for _, file in self.files) or any(folder.is_flagged for folder in self.folders)


def tree_of(files: Sequence[FileDiff]) -> Folder:
    """Return the topmost folder."""
    top = Folder()
    places: dict[tuple[str, ...], Folder] = {(): top}
    for file in files:
        *above, name = file.path.split("/", DEEPEST)
        _place(places, tuple(above)).files.append((name, file))
    return _joined(top)


def _place(places: dict[tuple[str, ...], Folder], path: tuple[str, ...]) -> Folder:
    for end in range(1, len(path) + 1):
        if path[:end] not in places:
            places[path[:end]] = made = Folder(path[end - 1])
            places[path[: end - 1]].folders.append(made)
    return places[path]


def _joined(folder: Folder) -> Folder:
    for each in folder.folders:
        _joined(each)
        if len(each.folders) == 1 and not each.files:
            (only,) = each.folders
            each.name, each.folders, each.files = f"{each.name}/{only.name}", only.folders, only.files
    return folder
