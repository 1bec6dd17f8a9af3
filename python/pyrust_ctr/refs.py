"""Image references: the grammar `[registry[:port]/]path[:tag][@digest]` with Docker's defaults. Pure, no IO.

Grammar: the OCI distribution specification for paths and tags, RFC 3986 for IPv6 hosts. A first component is
a registry when it has a dot or a colon, has capital letters, or is `localhost`; otherwise the image is Docker
Hub's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from pyrust_ctr.errors import InvalidReference

DEFAULT_REGISTRY = "docker.io"
DEFAULT_TAG = "latest"
OFFICIAL_PREFIX = "library/"
MAX_NAME_LENGTH = 255
"""Longest `registry/path`, characters."""

_LEGACY_REGISTRY = "index.docker.io"

_HOST_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_HOST = rf"{_HOST_LABEL}(?:\.{_HOST_LABEL})*"
_REGISTRY = re.compile(rf"(?:{_HOST}|\[(?P<ipv6>[0-9a-fA-F:.]+)\])(?::(?P<port>[0-9]{{1,5}}))?", re.ASCII)
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*", re.ASCII)
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", re.ASCII)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)
_ANY_DIGEST = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}", re.ASCII)
_BARE_ID = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Reference:
    """A parsed image reference, with the defaults filled in.

    `tag` is None only when there is a digest. When there are both, the digest decides and the tag is
    decoration.
    """

    registry: str
    path: str
    tag: str | None = None
    digest: str | None = None

    @classmethod
    def parse(cls, text: str) -> Reference:
        """The reference that `text` means; `InvalidReference` names what is wrong with it."""
        if not text:
            raise InvalidReference("an image reference is needed, got an empty text")
        shown = _shown(text)
        if "://" in text:
            raise InvalidReference(f"`{shown}` is a URL: an image reference has no scheme")
        rest, digest = _split_digest(shown, text)
        name, tag = _split_tag(shown, rest)
        registry, path = _split_registry(shown, name)
        if _BARE_ID.fullmatch(name):
            raise InvalidReference(
                f"`{shown}` is not an image reference: 64 hexadecimal digits are an image id"
            )
        if tag is None and digest is None:
            tag = DEFAULT_TAG
        return cls(registry, path, tag, digest)

    @property
    def repository(self) -> str:
        """`registry/path`, whole."""
        return f"{self.registry}/{self.path}"

    @property
    def canonical(self) -> str:
        """The key of the state database: `registry/path@digest` when there is a digest, else
        `registry/path:tag`.
        """
        if self.digest is not None:
            return f"{self.repository}@{self.digest}"
        return f"{self.repository}:{self.tag}"

    @property
    def familiar_name(self) -> str:
        """The shortest repository name that means the same: `busybox`, `user/app`, `localhost:5000/app`."""
        if self.registry != DEFAULT_REGISTRY:
            return self.repository
        first, _, rest = self.path.partition("/")
        if first == "library" and "/" not in rest:
            return self.path if _BARE_ID.fullmatch(rest) else rest
        # `docker.io/localhost/x` and `docker.io/a.b/x` keep their prefix: the rest would read as another
        # registry.
        return self.repository if _reads_as_registry(first) else self.path

    @property
    def familiar(self) -> str:
        """What people write: `busybox:latest`, `busybox@sha256:…`."""
        text = self.familiar_name
        if self.tag is not None:
            text += f":{self.tag}"
        if self.digest is not None:
            text += f"@{self.digest}"
        return text

    @property
    def wanted(self) -> str:
        """What a registry is asked for: the digest when there is one, else the tag."""
        return self.digest or self.tag or DEFAULT_TAG

    def with_digest(self, digest: str) -> Reference:
        """The same repository at `digest`, without a tag."""
        return replace(self, tag=None, digest=digest)

    def __str__(self) -> str:
        return self.familiar


def normalize_registry(text: str) -> str:
    """A registry as `login` and the settings name it: scheme, path and old names of Docker Hub removed,
    checked.
    """
    host = re.sub(r"^https?://", "", text).partition("/")[0].lower()
    if host in {_LEGACY_REGISTRY, "registry-1.docker.io", "registry.hub.docker.com"}:
        return DEFAULT_REGISTRY
    if problem := _registry_problem(host):
        raise InvalidReference(f"`{text}` is not a registry: {problem}")
    return host


def is_digest(text: str) -> bool:
    """Whether `text` is a digest that can be checked: `sha256:` and 64 lower-case hexadecimal digits."""
    return _DIGEST.fullmatch(text) is not None


def _shown(text: str) -> str:
    """What a message quotes of a text that may be anything."""
    printable = "".join(letter if letter.isprintable() else "?" for letter in text[:160])
    return printable if len(text) <= 160 else f"{printable}…"


def _split_digest(text: str, whole: str) -> tuple[str, str | None]:
    name, at, digest = whole.partition("@")
    if not at:
        return whole, None
    if _DIGEST.fullmatch(digest):
        return name, digest
    if digest.startswith("sha256:"):
        raise InvalidReference(
            f"the digest of `{text}` is not `sha256:` and 64 lower-case hexadecimal digits"
        )
    if _ANY_DIGEST.fullmatch(digest):
        algorithm = digest.partition(":")[0]
        raise InvalidReference(f"the digest of `{text}` uses `{algorithm}`, and only `sha256` is supported")
    raise InvalidReference(
        f"the digest of `{text}` is malformed: expected `@sha256:` and 64 hexadecimal digits"
    )


def _split_tag(text: str, rest: str) -> tuple[str, str | None]:
    head, colon, tag = rest.rpartition(":")
    # A colon before the last slash or inside brackets belongs to a port or an IPv6 address.
    if not colon or "/" in tag or "]" in tag:
        return rest, None
    if not _TAG.fullmatch(tag):
        raise InvalidReference(
            f"the tag of `{text}` is malformed: up to 128 letters, digits, `_`, `.` and `-`, "
            "and not beginning with `.` or `-`"
        )
    return head, tag


def _split_registry(text: str, name: str) -> tuple[str, str]:
    first, slash, remainder = name.partition("/")
    if slash and _reads_as_registry(first):
        if problem := _registry_problem(first):
            raise InvalidReference(f"the registry of `{text}` is malformed: {problem}")
        # A host name has no case; a lone capitalised word must keep its own, which is what makes it a
        # registry.
        registry, path = (first.lower() if _reads_as_registry(first.lower()) else first), remainder
    else:
        registry, path = DEFAULT_REGISTRY, name
    if registry == _LEGACY_REGISTRY:
        registry = DEFAULT_REGISTRY
    _check_path(text, path)
    if registry == DEFAULT_REGISTRY and "/" not in path:
        path = OFFICIAL_PREFIX + path
    if len(registry) + 1 + len(path) > MAX_NAME_LENGTH:
        raise InvalidReference(f"the repository name of `{text}` is longer than {MAX_NAME_LENGTH} characters")
    return registry, path


def _check_path(text: str, path: str) -> None:
    if _PATH.fullmatch(path):
        return
    if path.lower() != path and _PATH.fullmatch(path.lower()):
        raise InvalidReference(f"the repository name of `{text}` must be lower case: `{path.lower()}`")
    raise InvalidReference(
        f"`{text}` is not an image reference: a repository name has lower-case letters and digits, "
        "separated by `.`, `_`, `__`, `-` or `/`"
    )


def _reads_as_registry(component: str) -> bool:
    return "." in component or ":" in component or component == "localhost" or component.lower() != component


def _registry_problem(registry: str) -> str:
    """What is wrong with `host[:port]`; empty when nothing is."""
    match = _REGISTRY.fullmatch(registry)
    if match is None:
        return f"`{registry}` is not `host` or `host:port`"
    if (port := match["port"]) is not None and not 0 < int(port) <= 65535:
        return f"the port `{port}` is not between 1 and 65535"
    if (address := match["ipv6"]) is not None:
        from ipaddress import IPv6Address

        try:
            IPv6Address(address)
        except ValueError:
            return f"`[{address}]` is not an IPv6 address"
    return ""
