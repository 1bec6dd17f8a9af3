"""One registry as a pull sees it: its endpoints tried in order, and errors that say what to do.

Which endpoint answered is remembered, so that a registry on plain http is asked over https once.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, TypeVar

from pyrust_ctr.errors import (
    Cancelled,
    ContentError,
    Error,
    ManifestUnknown,
    RegistryError,
    RegistryUnreachable,
    TooLarge,
    Unauthorized,
)
from pyrust_ctr.refs import Reference
from pyrust_ctr.registry.credentials import CredentialFile, Credentials, Lookup
from pyrust_ctr.registry.endpoints import Endpoint, endpoints_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyrust_ctr.config import EngineConfig
    from pyrust_ctr.runtime.interface import LayerInfo, Progress, Registry, RegistryResponse, Runtime, Store

T = TypeVar("T")


class RegistryClient:
    """The registry of one name. Thread-safe."""

    def __init__(
        self,
        registry: str,
        *,
        runtime: Runtime,
        config: EngineConfig,
        credentials: CredentialFile,
    ) -> None:
        self._registry = registry
        self._runtime = runtime
        self._config = config
        self._credential_file = credentials
        self._guard = threading.Lock()
        self._opened: dict[Endpoint, Registry] = {}
        self._endpoints = list(endpoints_for(registry, config))

    def ping(self, credentials: Credentials) -> None:
        """Whether the registry takes these credentials; `Unauthorized` when it does not. Mirrors are not
        asked.
        """
        last: Error | None = None
        for endpoint in self._endpoints:
            if endpoint.is_mirror:
                continue
            try:
                self._open(endpoint, Lookup(credentials)).ping()
                return
            except RegistryUnreachable as failure:
                last = _better(last, failure)
        assert last is not None
        raise last

    def manifest(self, repository: str, reference: str, accept: list[str]) -> RegistryResponse:
        """A manifest by tag or digest."""
        try:
            return self._first(lambda endpoint: endpoint.manifest(repository, reference, accept))
        except ManifestUnknown as failure:
            raise self._unknown(repository, reference, failure) from failure

    def blob(self, repository: str, digest: str, size: int) -> bytes:
        """A small blob, checked for size and digest."""
        return self._first(lambda endpoint: endpoint.blob(repository, digest, size))

    def pull_layer(
        self,
        store: Store,
        repository: str,
        digest: str,
        size: int,
        diff_id: str,
        *,
        max_bytes: int,
        progress: Progress,
    ) -> LayerInfo:
        """Fetches and unpacks one layer into the store."""
        return self._first(
            lambda endpoint: endpoint.pull_layer(
                store, repository, digest, size, diff_id, max_bytes=max_bytes, progress=progress
            )
        )

    def _first(self, work: Callable[[Registry], T]) -> T:
        """What the first endpoint that can do it answers; the last one's error when none can."""
        last: Error | None = None
        with self._guard:
            order = list(self._endpoints)
        for endpoint in order:
            try:
                result = work(self._open(endpoint, None))
            except Cancelled:
                raise
            except (RegistryError, ContentError) as failure:
                may_continue = endpoint.is_mirror or isinstance(failure, RegistryUnreachable)
                if not may_continue or isinstance(failure, TooLarge):
                    raise self._explained(failure, endpoint) from failure
                last = _better(last, self._explained(failure, endpoint))
            else:
                self._remember(endpoint)
                return result
        assert last is not None
        raise last

    def _remember(self, endpoint: Endpoint) -> None:
        """Once plain http answered where https did not, https is not tried again."""
        if not endpoint.is_fallback:
            return
        with self._guard:
            self._endpoints = [known for known in self._endpoints if known.is_mirror or known == endpoint]

    def _open(self, endpoint: Endpoint, lookup: Lookup | None) -> Registry:
        if lookup is not None:
            return self._connect(endpoint, lookup.credentials)
        with self._guard:
            registry = self._opened.get(endpoint)
            if registry is None:
                found = self._credential_file.lookup(endpoint.credentials_key)
                registry = self._opened[endpoint] = self._connect(endpoint, found.credentials)
        return registry

    def _connect(self, endpoint: Endpoint, credentials: Credentials | None) -> Registry:
        has_token = credentials is not None and bool(credentials.identity_token)
        return self._runtime.open_registry(
            endpoint.base_url,
            username=credentials.username if credentials is not None else None,
            password=credentials.password if credentials is not None and not has_token else None,
            identity_token=credentials.identity_token if credentials is not None and has_token else None,
            insecure=endpoint.insecure,
            ca_file=endpoint.ca_file,
            timeout_s=self._config.registry_timeout_s,
        )

    def _explained(self, failure: Error, endpoint: Endpoint) -> Error:
        """The failure with what the user can do about it."""
        if not isinstance(failure, Unauthorized):
            return failure
        found = self._credential_file.lookup(endpoint.credentials_key)
        if found.credentials is None and found.helper:
            return Unauthorized(
                f"{failure.message}; the credential helper `{found.helper}` "
                f"that `{self._credential_file.path}` names is not supported yet",
                hint=f"Keep the credentials in that file: `pctr login {self._registry}`.",
            )
        if found.credentials is None:
            return Unauthorized(
                failure.message, hint=f"`pctr login {self._registry}` keeps credentials for it."
            )
        return Unauthorized(failure.message, hint=f"Check the credentials: `pctr login {self._registry}`.")

    def _unknown(self, repository: str, reference: str, failure: ManifestUnknown) -> ManifestUnknown:
        is_digest = reference.startswith("sha256:")
        name = Reference(
            self._registry, repository, None if is_digest else reference, reference if is_digest else None
        ).familiar
        return ManifestUnknown(f"the registry `{self._registry}` has no image `{name}`: {failure.message}")


def _better(first: Error | None, second: Error) -> Error:
    """Of two failures the one that says more: an answer beats silence, earlier silence beats later."""
    if first is None or (
        isinstance(first, RegistryUnreachable) and not isinstance(second, RegistryUnreachable)
    ):
        return second
    if isinstance(second, RegistryUnreachable):
        return first
    return second
