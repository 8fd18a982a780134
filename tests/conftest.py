"""What every suite shares."""

from pathlib import Path

import anyio
import pytest
from platformdirs import user_cache_path

from cloister.sandboxes.oci.image import OciImageStore


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def images() -> OciImageStore:
    """The real store with the real image `base`, kept from one run of the tests to the next."""
    store = OciImageStore(Path(user_cache_path("cloister-tests")))
    anyio.run(store.ensure, "base")
    return store
