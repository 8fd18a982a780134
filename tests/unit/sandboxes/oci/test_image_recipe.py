from pathlib import Path

import pytest

from cloister.errors import NotFoundError, UsageError
from cloister.sandboxes.oci.image_recipe import known_recipes, load_recipe, packaged_recipes


@pytest.mark.parametrize("name", ["basis", "", "../base", "base.toml", "/etc/passwd", "BASE"])
def test_an_unknown_name_is_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(NotFoundError) as caught:
        load_recipe(packaged_recipes(), name)
    assert caught.value.hint == "known images: base"


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
    ],
)
def test_a_wrong_recipe_is_refused_with_file_and_reason(tmp_path: Path, content: str, complaint: str) -> None:
    (tmp_path / "own.toml").write_text(content)
    with pytest.raises(UsageError, match=complaint) as caught:
        load_recipe(tmp_path, "own")
    assert "own.toml" in str(caught.value)


def test_a_recipe_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_bytes(b"\xff")
    with pytest.raises(UsageError, match=r"own\.toml"):
        load_recipe(tmp_path, "own")


def test_every_packaged_recipe_can_be_read() -> None:
    names = known_recipes(packaged_recipes())
    assert "base" in names
    for name in names:
        assert load_recipe(packaged_recipes(), name).packages


def test_a_recipe_names_packages_and_variant(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text("variant = 'essential'\npackages = ['libstdc++6']")
    recipe = load_recipe(tmp_path, "own")
    assert (recipe.name, recipe.variant, recipe.packages) == ("own", "essential", ("libstdc++6",))
