"""Images: platforms, configurations, and the rows that the store keeps."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

ImageKind = Literal["layers", "host"]
"""`layers` is an ordinary image; `host` stands for the machine's own root file system."""


@dataclass(frozen=True, slots=True)
class Platform:
    """An operating system and a processor, in the words of the OCI image specification (Go's)."""

    os: str
    architecture: str
    variant: str = ""

    def __str__(self) -> str:
        text = f"{self.os}/{self.architecture}"
        return f"{text}/{self.variant}" if self.variant else text


@dataclass(frozen=True, slots=True)
class Healthcheck:
    """An image's `HEALTHCHECK`; durations in nanoseconds, 0 when the image leaves them to the engine."""

    test: tuple[str, ...]
    interval_ns: int = 0
    timeout_ns: int = 0
    start_period_ns: int = 0
    retries: int = 0


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """What an image's configuration says about running it (OCI image specification, `config`)."""

    platform: Platform
    diff_ids: tuple[str, ...]
    """Digests of the uncompressed layers, bottom first."""
    created: str = ""
    """RFC 3339, as the image has it; empty when it has none."""
    author: str = ""
    entrypoint: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None
    env: tuple[str, ...] = ()
    """`NAME=value`."""
    working_dir: str = ""
    user: str = ""
    exposed_ports: tuple[str, ...] = ()
    """`80/tcp`."""
    volumes: tuple[str, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)
    stop_signal: str = ""
    shell: tuple[str, ...] = ()
    healthcheck: Healthcheck | None = None
    document: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)
    """The whole document, for `inspect`."""


@dataclass(frozen=True, slots=True)
class Image:
    """An image in the store."""

    id: str
    """Digest of its configuration, `sha256:…`."""
    manifest_digest: str
    """Digest of its manifest; empty for images that came without one (`load` of a docker archive)."""
    manifest_type: str
    platform: str
    """`os/arch[/variant]`."""
    layers: tuple[str, ...]
    """Diff ids, bottom first."""
    size_bytes: int
    """Unpacked, all layers together."""
    created_at_ns: int
    """Unix time from the configuration; 0 when it has none."""
    pulled_at_ns: int
    kind: ImageKind = "layers"
    references: tuple[str, ...] = ()
    """Canonical names: `registry/path:tag` and `registry/path@digest`."""

    @property
    def tags(self) -> tuple[str, ...]:
        """The names with a tag as people write them (`busybox:latest`)."""
        return tuple(_familiar(name) for name in self.references if "@" not in name)

    @property
    def digests(self) -> tuple[str, ...]:
        """The names with a digest as people write them (`busybox@sha256:…`)."""
        return tuple(_familiar(name) for name in self.references if "@" in name)

    @property
    def short_id(self) -> str:
        """The twelve digits that lists show."""
        return self.id.removeprefix("sha256:")[:12]

    @property
    def is_dangling(self) -> bool:
        """Whether no tag names it."""
        return not any("@" not in name for name in self.references)


@dataclass(frozen=True, slots=True)
class ResolvedImage:
    """An image ready to be run."""

    image: Image
    config: ImageConfig
    name: str
    """As the user wrote it."""
    lowers: tuple[str, ...]
    """Directories for overlayfs, topmost first; only `/` for the `host` image."""

    @property
    def is_host(self) -> bool:
        """Whether the root is the machine's own, so that the engine's state must be hidden in it."""
        return self.image.kind == "host"


@dataclass(frozen=True, slots=True)
class PulledImage:
    """What a pull did."""

    image: Image
    digest: str
    """Of the document that the reference names: the index for an image of several platforms, else the
    manifest.
    """
    is_new: bool
    """Whether anything changed here: False is Docker's `Image is up to date`."""


@dataclass(frozen=True, slots=True)
class KeptCredentials:
    """Where a login was kept."""

    path: str
    helper: str
    """Name of a credential helper that the file names for the registry and that was not used; empty when
    none.
    """


@dataclass(frozen=True, slots=True)
class Removal:
    """What `remove` and `prune` took away."""

    untagged: tuple[str, ...] = ()
    """Names, as people write them."""
    deleted: tuple[str, ...] = ()
    """Image ids, then diff ids of their layers."""
    freed_bytes: int = 0


def _familiar(canonical: str) -> str:
    from pyrust_ctr.refs import Reference

    return Reference.parse(canonical).familiar
