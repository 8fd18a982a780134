"""What of a change is flagged, and what is not."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloister.hygiene import ChangedFile, flags_of
from cloister.model.flag import MOST_OF_A_KIND, Flag, FlagKind

# Put together here, so that no scanner takes this file for a leak.
GITHUB = "ghp_" + "Ab3" * 12
AWS = "AKIA" + "IOSFODNN7QXAMPLE"


def changed(path: str = "a.py", *, old: int = 0o100644, new: int = 0o100644, size: int = 10) -> ChangedFile:
    return ChangedFile(path=path, old_mode=old, new_mode=new, old_blob="old", new_blob="new", size=size)


def kinds(*files: ChangedFile, new: str | bytes = "", old: str = "") -> list[FlagKind]:
    return [flag.kind for flag in flags(*files, new=new, old=old)]


def flags(*files: ChangedFile, new: str | bytes = "", old: str = "") -> tuple[Flag, ...]:
    content = new.encode() if isinstance(new, str) else new
    return flags_of(files, {"new": content, "old": old.encode()})


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        (".github/workflows/ci.yml", FlagKind.AUTOMATION),
        ("sub/.github/actions/x/action.yml", FlagKind.AUTOMATION),
        (".gitlab-ci.yml", FlagKind.AUTOMATION),
        (".circleci/config.yml", FlagKind.AUTOMATION),
        ("Jenkinsfile", FlagKind.AUTOMATION),
        (".github/workflows/new\nline.yml", FlagKind.AUTOMATION),
        (".husky/pre-commit", FlagKind.HOOK),
        (".githooks/post-checkout", FlagKind.HOOK),
        (".envrc", FlagKind.HOOK),
        ("web/.npmrc", FlagKind.HOOK),
        (".devcontainer/devcontainer.json", FlagKind.HOOK),
        ("QWEN.md", FlagKind.INSTRUCTIONS),
        (".pre-commit-config.yaml", FlagKind.HOOK),
        ("AGENTS.md", FlagKind.INSTRUCTIONS),
        ("deep/down/CLAUDE.md", FlagKind.INSTRUCTIONS),
        (".github/copilot-instructions.md", FlagKind.INSTRUCTIONS),
        (".claude/settings.json", FlagKind.INSTRUCTIONS),
        (".cursor/rules/x.mdc", FlagKind.INSTRUCTIONS),
        (".cursorrules", FlagKind.INSTRUCTIONS),
        (".mcp.json", FlagKind.INSTRUCTIONS),
        (".cloister/environment.toml", FlagKind.CLOISTER),
        (".gitmodules", FlagKind.GIT),
        (".lfsconfig", FlagKind.GIT),
        ("vendor/.gitattributes", FlagKind.GIT),
    ],
)
def test_a_path_with_a_meaning_is_flagged(path: str, kind: FlagKind) -> None:
    assert kinds(changed(path)) == [kind]
    assert kinds(changed(path, new=0)) == [kind], "also when it goes"


@pytest.mark.parametrize(
    "path",
    [
        "agents.py",
        "docs/AGENTS.md.txt",
        "github/workflows/ci.yml",
        "cloister/x.toml",
        "src/cursor.py",
        "husky/x",
        "git",
    ],
)
def test_a_path_that_only_looks_like_one_is_not(path: str) -> None:
    assert kinds(changed(path)) == []


@pytest.mark.parametrize(
    ("lock", "manifest"),
    [("package-lock.json", "package.json"), ("web/yarn.lock", "web/package.json"), ("uv.lock", "pyproject.toml")],
)
def test_a_lock_file_without_its_manifest_is_flagged(lock: str, manifest: str) -> None:
    assert kinds(changed(lock)) == [FlagKind.LOCK]
    assert kinds(changed(lock), changed(manifest)) == []
    assert kinds(changed(lock, old=0)) == [], "a first one locks what was there"


def test_another_folders_manifest_does_not_count() -> None:
    assert kinds(changed("web/package-lock.json"), changed("package.json")) == [FlagKind.LOCK]


def test_what_can_be_executed_now_is_flagged() -> None:
    assert kinds(changed(new=0o100755)) == [FlagKind.EXECUTABLE]
    assert kinds(changed(old=0, new=0o100755)) == [FlagKind.EXECUTABLE]
    assert kinds(changed(old=0o100755, new=0o100755)) == []


@pytest.mark.parametrize(
    "target", ["/etc/passwd", "../../x", "../.git/config", ".git/hooks", "b/../../../x", ".//.git"]
)
def test_a_link_out_of_the_work_tree_is_flagged(target: str) -> None:
    path = "a/link" if target.startswith(("..", "b")) else "link"
    assert kinds(changed(path, new=0o120000), new=target) == [FlagKind.LINK]


@pytest.mark.parametrize("target", ["b", "../b", "./c/../d", "../.github/x"])
def test_a_link_inside_is_not(target: str) -> None:
    assert kinds(changed("a/link", new=0o120000), new=target) == []


def test_a_link_whose_target_is_not_known_is_flagged() -> None:
    assert [flag.kind for flag in flags_of([changed(new=0o120000)], {})] == [FlagKind.LINK]


def test_a_submodules_pointer_is_flagged() -> None:
    assert kinds(changed("lib", new=0o160000)) == [FlagKind.SUBMODULE]


def test_what_is_large_or_binary_is_flagged() -> None:
    assert kinds(changed(size=3 * 1024**2), new="x") == [FlagKind.LARGE]
    assert kinds(changed(), new=b"\x7fELF\0") == [FlagKind.BINARY]


@pytest.mark.parametrize(
    "text",
    [
        "if access != \u202e\u2066// check\u2069: pass",
        "ab\u200bc",
        "x = 1 \U000e0041\U000e0042",
        "a\u2060b",
        "x\n\ufeffy",
        "pass\u200dword",
        "a\u2028b",
        "hi\ufe01\ufe02\ufe03",
        "evil()\x1b[2K\x1b[1A",
        "evil()\b\b\b",
        "import os; os.abort()\rprint(1)",
        "x" * 20_000 + "\u202e",
    ],
)
def test_characters_that_are_not_seen_are_flagged_with_their_line(text: str) -> None:
    (flag,) = flags(changed(), new=f"one\n{text}\n")
    assert flag.kind is FlagKind.UNICODE
    assert re.match(r"line \d: ", flag.detail)
    assert kinds(changed(), new=f"one\n{text}\n", old=f"{text}\nzero") == [], "they were there before"


@pytest.mark.parametrize(
    "text",
    ["\ufeffa first mark of the byte order", "grüße", "日本語", "👩\u200d💻 and ❤️", "a\u00a0b", "שלום", "a\tb\f\r\nc"],
)
def test_other_languages_and_emoji_are_not(text: str) -> None:
    assert kinds(changed(), new=text) == []


@pytest.mark.parametrize("line", [f"token = '{GITHUB}'", f"aws_access_key_id={AWS}", "-----BEGIN RSA PRIVATE KEY-----"])
def test_what_looks_like_a_secret_is_flagged_and_not_shown(line: str) -> None:
    (flag,) = flags(changed(), new=f"\n{line}\n")
    assert flag.kind is FlagKind.SECRET
    assert flag.detail.startswith("line 2: ")
    assert GITHUB not in str(flag)
    assert kinds(changed(), new=f"\n{line}\n", old=line) == [], "it was there before"
    assert kinds(changed(new=0), old=line) == [], "it goes"


@pytest.mark.parametrize(
    "line", ["password = 'hunter2'", "sha512-" + "aB3/" * 20, "token = os.environ['GITHUB_TOKEN']", "x" * 50 + "1"]
)
def test_what_is_no_services_credential_is_not(line: str) -> None:
    assert kinds(changed(), new=line) == []


@pytest.mark.parametrize("before", [0, 790, 799, 995, 50_000])
def test_a_long_line_hides_no_secret(before: int) -> None:
    assert kinds(changed(), new=" " * before + f"'{GITHUB}'" + " " * 20_000) == [FlagKind.SECRET]


def test_what_was_not_looked_into_is_flagged() -> None:
    assert flags_of([changed(size=100)], {})[0].kind is FlagKind.LARGE


def test_lines_that_take_long_are_not_all_searched_and_that_is_flagged() -> None:
    """Without the bounds this takes hours: the time that some patterns take grows with the square of a line."""
    searched = []
    slow = ("a" * 9999 + "\n") * 100 + ("a1" * 4999 + "\n") * 1000
    found = flags_of([changed("a"), changed("b")], {"new": slow.encode()}, lambda part: searched.append(part) or ())
    assert sum(map(len, searched)) <= 2 * 1024**2
    assert max(map(len, searched)) <= 1000
    assert [(flag.kind, flag.path) for flag in found] == [(FlagKind.LARGE, "a"), (FlagKind.LARGE, "b")]


def test_the_weightiest_come_first() -> None:
    files = [
        changed("b.lock"),
        changed("uv.lock"),
        changed(".gitmodules"),
        changed("Jenkinsfile"),
        changed("a", new=0o100755),
    ]
    assert kinds(*files) == [FlagKind.AUTOMATION, FlagKind.GIT, FlagKind.EXECUTABLE, FlagKind.LOCK]


@given(st.text(), st.binary())
def test_nothing_breaks_it(path: str, content: bytes) -> None:
    flags_of([changed(path or "x"), changed(path or "x", new=0o120000)], {"new": content})


def test_of_a_kind_few_are_named_and_the_others_are_counted() -> None:
    many = [changed(f"{number:05}.sh", new=0o100755) for number in range(30_000)]
    found = flags(*many, changed(".github/workflows/z.yml"), new="")
    assert [flag.kind for flag in found] == [FlagKind.AUTOMATION, *[FlagKind.EXECUTABLE] * MOST_OF_A_KIND]
    assert [flag.more for flag in found[:-1]] == [0] * MOST_OF_A_KIND
    assert found[-1].more == 30_000 - MOST_OF_A_KIND
    assert str(found[-1]) == "00019.sh can be executed now; so for 29980 more files"
    few = flags(*many[:MOST_OF_A_KIND], new="")
    assert [flag.more for flag in few] == [0] * MOST_OF_A_KIND
    assert str(flags(*many[: MOST_OF_A_KIND + 1], new="")[-1]).endswith("; so for 1 more file")
