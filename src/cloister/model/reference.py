"""References to images in OCI registries: `registry/repository:tag` and `registry/repository@sha256:digest`."""

import ipaddress
import re
from dataclasses import dataclass

from cloister.errors import NotFoundError, UsageError

_DEFAULT_REGISTRY = "docker.io"
_LONGEST = 255
_HTTPS = 443
# The grammar of the distribution project (github.com/distribution/reference).
_PART = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_REGISTRY = r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?"
_REFERENCE = re.compile(
    rf"(?:(?P<registry>{_REGISTRY})/)?(?P<repository>{_PART}(?:/{_PART})*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageReference:
    """Which image of which registry is meant."""

    registry: str
    """Host, and port when one was given."""
    repository: str
    tag: str
    digest: str = ""
    """Of the manifest, as `sha256:` and 64 hexadecimal digits; empty when the tag decides. It goes before the tag."""

    def __str__(self) -> str:
        return f"{self.name}@{self.digest}" if self.digest else f"{self.name}:{self.tag}"

    @property
    def name(self) -> str:
        """Registry and repository."""
        return f"{self.registry}/{self.repository}"

    @property
    def endpoint(self) -> tuple[str, int]:
        """Host and port of the registry."""
        found = re.fullmatch(r"(.*?)(?::([0-9]+))?", self.registry)
        assert found is not None, "everything is a host and perhaps a port"
        return found[1].strip("[]"), int(found[2] or _HTTPS)

    @property
    def on_loopback(self) -> bool:
        """Whether the registry is this machine, so that plain HTTP shows nobody anything."""
        host = re.sub(r":[0-9]+$", "", self.registry).strip("[]")
        if host == "localhost":
            return True
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return False


def is_reference(image: str) -> bool:
    """Whether `image` is a reference: a recipe's name has none of these signs."""
    return any(sign in image for sign in "/:@") and len(image) <= _LONGEST and _REFERENCE.fullmatch(image) is not None


def not_pulled(reference: str) -> NotFoundError:
    """Return the answer to who asks for an image that nobody pulled.

    A task never pulls: whoever writes a repository must not choose what a node fetches with its operator's credentials.
    """
    return NotFoundError(
        f"the image {reference} is not on this node",
        hint=f"if you trust it, fetch it once: cloister image pull {reference}",
    )


def parse_reference(text: str) -> ImageReference:
    """Read a reference as container tools do: without a registry it is Docker Hub's. UsageError."""
    match = _REFERENCE.fullmatch(text) if len(text) <= _LONGEST else None
    if match is None:
        raise UsageError(
            f"{text[:_LONGEST]!r} is no reference to an image",
            hint="write registry/repository:tag or registry/repository@sha256:digest",
        )
    registry, repository = match["registry"] or "", match["repository"]
    if registry and not _is_host(registry):  # `library/debian`: the first part is a folder of Docker Hub
        registry, repository = "", f"{registry}/{repository}"
    if not registry:
        registry = _DEFAULT_REGISTRY
    if registry == _DEFAULT_REGISTRY and "/" not in repository:
        repository = f"library/{repository}"
    return ImageReference(
        registry=registry, repository=repository, tag=match["tag"] or "latest", digest=match["digest"] or ""
    )


def _is_host(first: str) -> bool:
    return first == "localhost" or any(sign in first for sign in ".:")
