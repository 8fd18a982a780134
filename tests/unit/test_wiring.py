"""An application that cannot be as its settings say does not open."""

from pathlib import Path

import pytest

from cloister.errors import UsageError
from cloister.model.upstreams import parse_given_address
from cloister.settings import Settings
from cloister.wiring import open_application


@pytest.mark.parametrize("address", ["169.254.169.254", "fd00:ec2::254", "127.0.0.1", "::1", "::ffff:a00:1", "0.0.0.0"])
async def test_a_host_is_never_put_at_an_address_that_is_never_reached(tmp_path: Path, address: str) -> None:
    settings = Settings(state=tmp_path, upstream_addresses={"git.example": address})
    assert settings.upstreams.addresses == {"git.example": parse_given_address(address)}
    with pytest.raises(UsageError, match=f"git.example cannot be at {address}: "):
        async with open_application(settings):
            pass


async def test_a_file_without_a_certificate_is_told_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="authorities: cannot read /nonexistent"):
        async with open_application(Settings(state=tmp_path / "state", authorities=["/nonexistent"])):
            pass
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("host", ["169.254.169.254", "[fd00:ec2::254]", "0.0.0.0", "169.254.1.1", "198.18.0.1"])
async def test_a_model_is_never_at_an_address_that_is_never_reached(tmp_path: Path, host: str) -> None:
    settings = Settings(state=tmp_path, models={"one": {"base": f"http://{host}/v1"}})
    with pytest.raises(UsageError, match=r"models\.one: base cannot be at "):
        async with open_application(settings):
            pass
