"""What every verb on containers needs, passed down as one value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyrust_ctr.containers.host import Host
    from pyrust_ctr.containers.table import ContainerTable
    from pyrust_ctr.models.image import Image, ResolvedImage
    from pyrust_ctr.paths import Paths
    from pyrust_ctr.runtime.interface import Runtime


class ImageSource(Protocol):
    """Where images come from; `Engine` passes the image service."""

    def resolve_for_run(self, name: str, platform: str | None = None) -> ResolvedImage:
        """The image ready to be run; `ImageNotFound`, `PlatformMismatch`."""

    def get(self, name: str) -> Image:
        """The image of that name or id; `ImageNotFound`."""


@dataclass(frozen=True, slots=True)
class ContainerContext:
    """The collaborators of the container service."""

    paths: Paths
    table: ContainerTable
    runtime: Runtime
    image_source: Callable[[], ImageSource]
    """Asked for when needed: most commands need no image, and a closed engine lets go of its store."""
    host: Host
    pull: Callable[[str, str | None], object]
    """Downloads an image by name and platform."""

    @property
    def images(self) -> ImageSource:
        """The images."""
        return self.image_source()

    def directory(self, container_id: str) -> str:
        """The container's folder."""
        return str(self.paths.container(container_id))

    @property
    def trash(self) -> str:
        """The folder of what is to be deleted."""
        return str(self.paths.trash)
