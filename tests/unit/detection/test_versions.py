"""Which versions of an image a project gets: what is refused, who decides, and what will do in place of another."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloister.detection import choose_toolchains
from cloister.errors import UsageError
from cloister.model.image import Image, Toolchain
from cloister.model.project import ProjectFile, ProjectFiles
from cloister.model.sandbox import ImageDigest

HAS = {
    "python": ("3.11.2", "3.13.1", "3.12.9"),
    "node": ("18.20.4", "20.20.2", "24.1.0", "22.22.0"),
    "go": ("1.19.8", "1.27.0", "1.22.12"),
    "rust": ("1.63.0", "1.96.0"),
    "java": ("17.0.15", "21.0.7"),
}


def image(has: dict[str, tuple[str, ...]] | None = None, name: str = "base") -> Image:
    toolchains = [
        Toolchain(language=language, version=version, path=(f"/opt/{language}-{version}/bin",) if number else ())
        for language, versions in (HAS if has is None else has).items()
        for number, version in enumerate(versions)
    ]
    digest, created_at = ImageDigest("0" * 64), datetime(2026, 1, 1, tzinfo=UTC)
    return Image(
        name=name, digest=digest, created_at=created_at, size_bytes=0, packages={}, toolchains=tuple(toolchains)
    )


def of_paths(texts: dict[str, str]) -> ProjectFiles:
    return ProjectFiles({path: ProjectFile(blob="0" * 40, text=text) for path, text in texts.items()})


def chosen(texts: dict[str, str], versions: dict[str, str] | None = None) -> dict[str, str]:
    return dict(choose_toolchains(versions or {}, of_paths(texts), image()).versions)


@pytest.mark.parametrize("version", ["3.1", "3", "3.14", "3.11.3", "4"])
def test_a_version_that_is_not_there_is_refused_with_those_that_are(version: str) -> None:
    if version == "3":
        assert chosen({}, {"python": version}) == {"python": "3.11.2"}
        return
    with pytest.raises(UsageError) as refused:
        choose_toolchains({"python": version}, ProjectFiles(), image())
    assert str(refused.value) == f"[versions] ask for python {version}; what the image base has: 3.11.2, 3.13.1, 3.12.9"
    assert "universal" in (refused.value.hint or "")


@pytest.mark.parametrize(
    ("path", "text", "told"),
    [
        (".python-version", "3.9.1\n", "python 3.9.1"),
        (".nvmrc", "v16", "node v16"),
        (".nvmrc", "lts/gallium", "node 16"),
        ("go.mod", "module x\n\ngo 1.28\n", "go >=1.28"),
        ("rust-toolchain.toml", "a." * 100_000 + "b = 1\n", "rust " + "a." * 40 + "..."),
        ("rust-toolchain.toml", '[toolchain]\nchannel = "nightly-2026-01-01"\n', "rust nightly-2026-01-01"),
        ("rust-toolchain", "1.70\n", "rust 1.70"),
        (".tool-versions", "java temurin-11.0.2+9\n", "java 11.0.2+9"),
        ("package.json", '{"engines": {"node": "^16 || 17.x"}}', "node ^16 || 17.x"),
    ],
)
def test_what_a_file_asks_for_and_is_not_there_is_refused(path: str, text: str, told: str) -> None:
    with pytest.raises(UsageError) as refused:
        chosen({path: text})
    assert str(refused.value).startswith(f"{path} asks for {told}; what the image base has: ")


def test_several_that_are_not_there_are_told_together() -> None:
    with pytest.raises(UsageError) as refused:
        chosen({".nvmrc": "16"}, {"python": "2.7"})
    assert "[versions] ask for python 2.7" in str(refused.value)
    assert ".nvmrc asks for node 16" in str(refused.value)


@pytest.mark.parametrize(
    ("path", "text", "gets"),
    [
        (".python-version", "3.13\n", {"python": "3.13.1"}),
        (".python-version", "# ours\n3.12.9\n3.11\n", {"python": "3.12.9"}),
        (".nvmrc", "lts/jod", {"node": "22.22.0"}),
        (".nvmrc", "v20.20.2\n", {"node": "20.20.2"}),
        (".node-version", "24", {"node": "24.1.0"}),
        ("go.mod", "module x\ngo 1.22.3 // oldest\n", {"go": "1.27.0"}),
        ("go.mod", "module x\ngo 1.18\n", {"go": "1.19.8"}),
        ("rust-toolchain.toml", '[toolchain]\nchannel = "1.96"\n', {"rust": "1.96.0"}),
        (".tool-versions", "golang 1.22.12\nnodejs 20.1.0 # x\nterraform 1.0\n", {"go": "1.22.12", "node": "20.20.2"}),
        (".tool-versions", "java temurin-21.0.4+7\n", {"java": "21.0.7"}),
        ("package.json", '{"engines": {"node": ">=16"}}', {"node": "18.20.4"}),
        ("package.json", '{"engines": {"node": ">=20 <23"}}', {"node": "22.22.0"}),
    ],
)
def test_a_file_chooses_what_fits_best(path: str, text: str, gets: dict[str, str]) -> None:
    assert chosen({path: text}) == gets


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (".python-version", "system\n"),
        (".python-version", "pypy3.10-7.3\n"),
        (".nvmrc", "node"),
        (".nvmrc", "lts/*"),
        (".nvmrc", ""),
        ("rust-toolchain", "stable"),
        ("package.json", '{"engines": {"npm": ">=9"}}'),
        ("package.json", '{"engines": {"node": "one"}}'),
        ("package.json", '{"engines": []}'),
        ("package.json", "["),
        ("go.mod", "module x\n"),
        ("go.mod", f"go 1.{'9' * 5000}\n"),
    ],
)
def test_what_names_no_version_chooses_nothing(path: str, text: str) -> None:
    assert chosen({path: text}) == {}


def test_the_environment_decides_before_files_and_outer_folders_before_inner() -> None:
    texts = {
        ".nvmrc": "20",
        "web/.nvmrc": "24",
        "web/.python-version": "3.12",
        "package.json": '{"engines": {"node": "22"}}',
    }
    assert chosen(texts) == {"node": "20.20.2", "python": "3.12.9"}
    assert chosen(texts, {"node": "18"})["node"] == "18.20.4"


def test_another_of_the_series_will_do_for_a_file_and_is_said() -> None:
    toolchains = choose_toolchains({}, of_paths({".python-version": "3.11.9"}), image())
    assert toolchains.versions == {"python": "3.11.2"}
    assert toolchains.notes == (".python-version asks for python 3.11.9; the image has 3.11.2",)
    assert choose_toolchains({}, of_paths({".python-version": "3.11"}), image()).notes == ()


def test_a_language_that_the_image_lacks_is_refused_only_where_the_environment_asks_for_it() -> None:
    toolchains = choose_toolchains({}, of_paths({".ruby-version": "3.3.1"}), image())
    assert (toolchains.choices, len(toolchains.notes)) == ((), 1)
    with pytest.raises(UsageError, match="what the image base has: none"):
        choose_toolchains({"ruby": "3.3"}, ProjectFiles(), image())


def test_an_image_that_tells_nothing_is_refused_with_what_to_do() -> None:
    with pytest.raises(UsageError) as refused:
        choose_toolchains({"python": "3.11"}, ProjectFiles(), image({}))
    assert "image build base" in (refused.value.hint or "")
    assert choose_toolchains({}, of_paths({".nvmrc": "16"}), image({})).versions == {}


def test_only_what_is_not_found_anyway_goes_before_path() -> None:
    assert choose_toolchains({"node": "18", "go": "1.22"}, ProjectFiles(), image()).path == ("/opt/go-1.22.12/bin",)


@given(
    st.text(),
    st.sampled_from([".python-version", ".nvmrc", ".tool-versions", "go.mod", "package.json", "rust-toolchain"]),
)
def test_no_file_breaks_it(text: str, path: str) -> None:
    try:
        toolchains = choose_toolchains({}, of_paths({path: text}), image())
    except UsageError:
        return
    assert all(version in HAS[language] for language, version in toolchains.versions.items())
