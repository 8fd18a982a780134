"""What a person does in a browser at the forge, without one."""

import re

import httpx


def create_app(address: str, manifest: str, name: str | None = None) -> str:
    """Post a manifest, click the button of the page that comes, and return where that leads."""
    page = httpx.post(address, data={"manifest": manifest})
    assert page.status_code == 200, page.text
    fields = dict(re.findall(r'name="(authenticity_token|name)" value="([^"]*)"', page.text))
    answer = httpx.post(
        httpx.URL(address).join("/settings/apps/manifest"), data={**fields, **({"name": name} if name else {})}
    )
    return answer.headers.get("location", "")
