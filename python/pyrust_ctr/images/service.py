"""`engine.images`: the images of a state directory."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from pyrust_ctr.errors import ImageNotFound, InvalidArgument, PlatformMismatch
from pyrust_ctr.images import find
from pyrust_ctr.images.access import RegistryAccess
from pyrust_ctr.images.context import ImageContext
from pyrust_ctr.images.platform import can_run, choose, host_platform, parse_platform
from pyrust_ctr.images.table import ImageTable
from pyrust_ctr.models.image import Image, ImageConfig, KeptCredentials, PulledImage, Removal, ResolvedImage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pyrust_ctr.config import EngineConfig
    from pyrust_ctr.images.load import LoadSource
    from pyrust_ctr.images.transfer import ProgressCallback
    from pyrust_ctr.paths import Paths
    from pyrust_ctr.registry.credentials import CredentialFile
    from pyrust_ctr.runtime.interface import Runtime, Store
    from pyrust_ctr.state.db import Database

_REMEMBERED = 64
"""How many images a process keeps ready for `resolve_for_run`."""


class Images:
    """Pulls, loads, lists, names and removes images. Thread-safe; any number of processes may do the same."""

    def __init__(
        self,
        *,
        paths: Paths,
        database: Database,
        store: Store,
        runtime: Runtime,
        config: Callable[[], EngineConfig] | None = None,
        credentials: CredentialFile | None = None,
    ) -> None:
        self._access = RegistryAccess(paths, runtime, config, credentials)
        self._guard = threading.Lock()
        self._platform: str | None = None
        self._ready: dict[tuple[str, int], tuple[ImageConfig, tuple[str, ...]]] = {}
        self._context = ImageContext(
            paths=paths,
            database=database,
            table=ImageTable(database),
            store=store,
            runtime=runtime,
            access=self._access,
        )

    def pull(
        self,
        reference: str,
        *,
        platform: str | None = None,
        progress: ProgressCallback | None = None,
        cancel: threading.Event | None = None,
    ) -> Image:
        """Downloads an image, or makes sure that it is up to date.

        `platform` is `os/arch[/variant]`, this machine's by default. `progress` is called with `PullProgress`
        on this thread; an exception from it cancels the pull, and so does setting `cancel` from another
        thread (`Cancelled`). Raises `InvalidReference`, `RegistryError` (`Unauthorized`, `ManifestUnknown`,
        `RegistryUnreachable`), `ContentError` (`DigestMismatch`, `PlatformMismatch` …), `NoSpace`.
        """
        return self.pull_with_outcome(reference, platform=platform, progress=progress, cancel=cancel).image

    def pull_with_outcome(
        self,
        reference: str,
        *,
        platform: str | None = None,
        progress: ProgressCallback | None = None,
        cancel: threading.Event | None = None,
    ) -> PulledImage:
        """`pull`, and what it did: the digest that the reference names, and whether anything changed."""
        from pyrust_ctr.images.pull import pull

        return pull(self._context, reference, platform=platform, progress=progress, cancel=cancel)

    def load(self, source: LoadSource, *, progress: ProgressCallback | None = None) -> list[Image]:
        """Reads a docker archive or an OCI layout, plain or compressed, from a path or a descriptor.

        Raises `ContentError` (`MalformedArchive`, `HostileArchive`, `DigestMismatch` …), `NotFound`,
        `NoSpace`.
        """
        from pyrust_ctr.images.load import load

        return load(self._context, source, progress=progress)

    def get(self, name: str) -> Image:
        """The image of that name, id or unique beginning of an id; `ImageNotFound` when there is none."""
        found = self._find(name)
        if found is None:
            raise find.not_found(name)
        return found

    def exists(self, name: str) -> bool:
        """Whether `get` would find it."""
        return self._find(name) is not None

    def list(self, *, filters: Mapping[str, Sequence[str]] | None = None) -> list[Image]:
        """Images, the latest first. Filters: `dangling`, `reference`, `label`, `before`, `since`, as
        Docker's.
        """
        from pyrust_ctr.images.list import list_images

        return list_images(self._context, filters or {})

    def inspect(self, name: str) -> dict[str, Any]:
        """Everything about an image, with Docker's keys."""
        from pyrust_ctr.images.inspect import inspect

        return inspect(self._context, self.get(name))

    def config(self, name: str) -> ImageConfig:
        """What the image says about running it."""
        return self._parsed(self.get(name), name)[0]

    def tag(self, name: str, target: str) -> None:
        """Gives the image a further name; a name that another image had moves."""
        from pyrust_ctr.images.tag import tag

        tag(self._context, self.get(name), name, target)

    def remove(self, name: str, *, force: bool = False) -> Removal:
        """Takes a name away, and the image with its last tag.

        `ImageInUse` when a container was made from it; `force` then takes its names and leaves it to `prune`.
        """
        from pyrust_ctr.images.remove import remove

        return remove(self._context, name, force=force)

    def prune(self, *, all: bool = False) -> Removal:
        """Removes images without a tag, with `all` every image that no container was made from; content
        without an image goes as well.
        """
        from pyrust_ctr.images.remove import prune

        return prune(self._context, every_unused=all)

    def login(self, registry: str, username: str, password: str) -> KeptCredentials:
        """Checks credentials with a registry and keeps them in Docker's file; `Unauthorized` when it refuses
        them.
        """
        from pyrust_ctr.refs import normalize_registry
        from pyrust_ctr.registry.credentials import Credentials

        host = normalize_registry(registry)
        credentials = Credentials(username, password)
        self._access.client(host).ping(credentials)
        file = self._access.credentials()
        file.store(host, credentials)
        return KeptCredentials(str(file.path), file.helper_for(host))

    def logout(self, registry: str) -> bool:
        """Forgets the credentials for a registry; False when there were none."""
        from pyrust_ctr.refs import normalize_registry

        return self._access.credentials().erase(normalize_registry(registry))

    def resolve_for_run(self, name: str, platform: str | None = None) -> ResolvedImage:
        """The image with everything that a start needs; nothing is downloaded.

        The built-in images are made when nothing else has their name. `ImageNotFound` when it is not here, or
        not here for `platform`; `PlatformMismatch` when this machine cannot run it.
        """
        image = self._find(name)
        if image is None:
            raise find.not_found(name)
        here = self._here()
        if (
            platform is not None
            and choose(parse_platform(platform), [parse_platform(image.platform)]) is None
        ):
            raise ImageNotFound(
                f"No such image: {name} for `{platform}`, only for `{image.platform}`",
                hint=f"`pctr pull --platform {platform} {name}` downloads it.",
            )
        if image.platform != here and not can_run(parse_platform(image.platform)):
            raise PlatformMismatch(
                f"cannot run the image `{name}`: it is for `{image.platform}`, and this machine is `{here}`",
                hint=f"`pctr pull {name}` brings the one for this machine, if there is one.",
            )
        config, lowers = self._parsed(image, name)
        if not lowers:
            raise InvalidArgument(
                f"cannot run the image `{name}`: it has no layers, so there is nothing in it"
            )
        return ResolvedImage(image, config, name, lowers)

    def _here(self) -> str:
        if self._platform is None:
            self._platform = str(host_platform())
        return self._platform

    def _find(self, name: str) -> Image | None:
        found = find.find(self._context, name)
        if found is not None and found.image.manifest_type != "builtin":
            return found.image
        from pyrust_ctr.images import builtin

        if found is not None:
            if found.canonical not in builtin.NAMES or builtin.is_current(self._context, found.image):
                return found.image
            return builtin.make(self._context, found.canonical)
        from pyrust_ctr.refs import Reference

        if name.startswith("sha256:") or (canonical := Reference.parse(name).canonical) not in builtin.NAMES:
            return None
        return builtin.make(self._context, canonical)

    def _parsed(self, image: Image, name: str) -> tuple[ImageConfig, tuple[str, ...]]:
        """Configuration and lower directories; remembered, because the image of an id never changes."""
        key = (image.id, image.pulled_at_ns)
        with self._guard:
            ready = self._ready.get(key)
        if ready is not None:
            return ready
        from pyrust_ctr.images import content

        context = self._context
        config = content.config_of(context, image, name)
        if image.kind == "host":
            lowers: tuple[str, ...] = ("/",)
        else:
            # Overlayfs takes a directory once; of a layer that stands in an image twice the upper place
            # decides.
            unique = list(dict.fromkeys(reversed(image.layers)))
            with content.present(context, image, name):
                lowers = tuple(context.store.rootfs_lowers(unique[::-1])) if unique else ()
        with self._guard:
            if len(self._ready) >= _REMEMBERED:
                self._ready.pop(next(iter(self._ready)))
            self._ready[key] = (config, lowers)
        return config, lowers
