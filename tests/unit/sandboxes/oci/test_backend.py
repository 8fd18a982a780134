import os
from pathlib import Path

import pytest

from cloister.errors import HostError
from cloister.sandboxes.oci.backend import open_backend
from cloister.sandboxes.oci.image import OciImageStore


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else for a while")
async def test_whoever_is_not_root_is_told_so(tmp_path: Path) -> None:
    images = OciImageStore(tmp_path)
    os.seteuid(4242)
    try:
        with pytest.raises(HostError, match="root") as caught:
            async with open_backend(tmp_path, images):
                pass
    finally:
        os.seteuid(0)
    assert "sudo" in (caught.value.hint or "")
    assert list(tmp_path.iterdir()) == []
