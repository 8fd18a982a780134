from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from cloister.model.environment import Check, Environment, Limits, NetworkRecipe, SetupRecipe
from cloister.model.network import NetworkMode
from cloister.model.snapshot import SnapshotRecipe, SnapshotRecord, reason_of_miss, recipe_of

NOW = datetime(2026, 1, 1, tzinfo=UTC)
WEB = Environment(name="web", setup=SetupRecipe(script="npm ci"))


def made_recipe(environment: Environment = WEB, **changed: object) -> SnapshotRecipe:
    given: dict[str, object] = {"repository": "/srv/shop", "image_digest": "0" * 64, "secret_versions": {"TOKEN": "1"}}
    given |= {"setup_script": "npm ci", "dependencies": "1", **changed}
    return recipe_of(environment, **given)  # type: ignore[arg-type]


def made_record(recipe: SnapshotRecipe, *, expires_in: float = 1.0) -> SnapshotRecord:
    return SnapshotRecord(
        key=recipe.key,
        environment="web",
        repository="/srv/shop",
        commit="a" * 40,
        parts=recipe.parts,
        created_at=NOW,
        expires_at=NOW + timedelta(seconds=expires_in),
    )


@pytest.mark.parametrize(
    ("part", "changed"),
    [
        ("image", made_recipe(image_digest="1" * 64)),
        ("repository", made_recipe(repository="/srv/other")),
        ("secrets", made_recipe(secret_versions={"TOKEN": "2"})),
        ("secrets", made_recipe(secret_versions={})),
        ("setup script", made_recipe(setup_script="npm i")),
        ("maintenance script", made_recipe(replace(WEB, setup=replace(WEB.setup, maintenance="npm i")))),
        ("lock files", made_recipe(dependencies="2")),
        ("variables", made_recipe(replace(WEB, variables={"A": "b"}))),
        ("versions", made_recipe(replace(WEB, versions={"python": "3.12"}))),
        ("setup network", made_recipe(replace(WEB, network=NetworkRecipe(setup=NetworkMode.OFF)))),
        ("setup network", made_recipe(replace(WEB, network=NetworkRecipe(ports=(443,))))),
    ],
)
def test_each_part_changes_the_key_and_a_miss_names_it(part: str, changed: SnapshotRecipe) -> None:
    kept = made_recipe()
    assert changed.key != kept.key
    assert reason_of_miss(changed, made_record(kept), now=NOW) == f"changed: {part}"


@pytest.mark.parametrize(
    "same",
    [
        replace(WEB, limits=Limits(cpu=1.0)),
        replace(WEB, checks=(Check(name="test", command="npm test"),)),
        replace(WEB, cache_ttl_seconds=1.0),
        replace(WEB, network=NetworkRecipe(agent=NetworkMode.FULL)),
        replace(WEB, network=NetworkRecipe(agent=NetworkMode.LIMITED, allow=("example.com",))),
    ],
)
def test_what_setup_does_not_see_leaves_the_key_alone(same: Environment) -> None:
    assert made_recipe(same).key == made_recipe().key


def test_domains_are_a_part_where_setup_is_limited_to_them() -> None:
    limited = replace(WEB, network=NetworkRecipe(setup=NetworkMode.LIMITED, allow=("example.com",)))
    more = replace(limited, network=replace(limited.network, allow=("example.com", "example.org")))
    assert reason_of_miss(made_recipe(more), made_record(made_recipe(limited)), now=NOW) == "changed: setup network"


def test_the_order_in_which_things_are_named_means_nothing() -> None:
    one, other = replace(WEB, variables={"A": "1", "B": "2"}), replace(WEB, variables={"B": "2", "A": "1"})
    assert made_recipe(one).key == made_recipe(other).key


def test_other_reasons_of_a_miss() -> None:
    recipe = made_recipe()
    assert reason_of_miss(recipe, None, now=NOW) == "first use of this environment"
    assert reason_of_miss(recipe, made_record(recipe, expires_in=0), now=NOW) == "expired"
    assert reason_of_miss(recipe, made_record(recipe), now=NOW) == "its disk is gone"
