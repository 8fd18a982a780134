"""The files of a change as a tree."""

from cloister.model.flag import Flag, FlagKind
from cloister.web.diff_view import files_of
from cloister.web.file_tree import DEEPEST, Folder, tree_of


def _diff(*paths: str) -> bytes:
    return "".join(f"diff --git a/{path} b/{path}\nold mode 100644\nnew mode 100755\n" for path in paths).encode()


def _told(folder: Folder) -> list[object]:
    return [*((each.name, _told(each)) for each in folder.folders), *(name for name, _ in folder.files)]


def test_folders_that_hold_one_folder_alone_are_written_with_it() -> None:
    paths = ("README.md", "src/shop/cart/total.py", "src/shop/cart/tax.py", "src/shop/api.py", "tests/unit/x.py")
    assert _told(tree_of(files_of(_diff(*paths)))) == [
        ("src/shop", [("cart", ["total.py", "tax.py"]), "api.py"]),
        ("tests/unit", ["x.py"]),
        "README.md",
    ]
    assert _told(tree_of([])) == []


def test_a_folder_says_that_something_below_it_wants_a_look() -> None:
    flag = Flag(kind=FlagKind.AUTOMATION, path="a/b/c/x.yml")
    tree = tree_of(files_of(_diff("a/b/c/x.yml", "a/y", "z/y"), [flag]))
    assert [(folder.name, folder.is_flagged) for folder in tree.folders] == [("a", True), ("z", False)]


def test_a_path_of_two_thousand_folders_is_a_name_at_some_depth() -> None:
    tree, depth = tree_of(files_of(_diff("d/" * 2000 + "x", *("d/" * n + "y" for n in range(1, 60))))), 0
    while tree.folders:
        tree, depth = tree.folders[0], depth + 1
    assert depth == DEEPEST
    assert any(name.endswith("/d/x") for name, _ in tree.files)
