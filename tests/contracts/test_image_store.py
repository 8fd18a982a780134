"""What every image store promises: the scripted one, and the real one with the real image `base`."""

from collections.abc import Callable

import anyio
import pytest

from cloister.errors import NotFoundError
from cloister.model.network import parse_domain
from cloister.model.sandbox import ImageDigest
from cloister.protocols import ImageStore
from cloister.sandboxes.fake import FakeNode
from cloister.sandboxes.fake_images import FakeImageStore
from cloister.sandboxes.oci.image import OciImageStore

Holds = Callable[[ImageDigest], bool]
"""Whether the node has a root file system of that digest, asked past the store's own interface."""


@pytest.fixture(params=["fake", "oci"])
def kept(request: pytest.FixtureRequest) -> tuple[ImageStore, Holds]:
    if request.param == "fake":
        node = FakeNode()
        return FakeImageStore(node), node.images.__contains__
    images: OciImageStore = request.getfixturevalue("images")
    return images, lambda digest: (images.rootfs(digest) / "bin").exists()


@pytest.mark.parametrize("name", ["huge", "", "../base", "base/../base", "Base", "a\0b", "names"])
async def test_an_unknown_name_is_refused_with_the_known_ones(kept: tuple[ImageStore, Holds], name: str) -> None:
    images, _ = kept
    with pytest.raises(NotFoundError) as refused:
        await images.ensure(name)
    assert "base" in f"{refused.value} {refused.value.hint}"
    assert await images.find(name) is None


async def test_the_names_are_sorted_and_all_of_them_will_do(kept: tuple[ImageStore, Holds]) -> None:
    images, _ = kept
    names = await images.names()
    assert "base" in names
    assert list(names) == sorted(set(names))


async def test_what_is_ensured_is_there(kept: tuple[ImageStore, Holds]) -> None:
    images, holds = kept
    digest = await images.ensure("base")
    assert holds(digest)
    assert await images.find("base") == digest


async def test_ten_that_ask_at_once_get_the_same(kept: tuple[ImageStore, Holds]) -> None:
    images, _ = kept
    digests = []

    async def ask() -> None:
        digests.append(await images.ensure("base"))

    async with anyio.create_task_group() as group:
        for _number in range(10):
            group.start_soon(ask)
    assert len(digests) == 10
    assert len(set(digests)) == 1


async def test_an_image_that_is_there_is_described(kept: tuple[ImageStore, Holds]) -> None:
    images, _ = kept
    digest = await images.ensure("base")
    described = await images.describe(digest)
    assert (described.name, described.digest) == ("base", digest)
    for host in described.registries:
        assert parse_domain(host) == host
    with pytest.raises(NotFoundError):
        await images.describe(ImageDigest("0" * 64))
