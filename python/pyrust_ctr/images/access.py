"""Settings, credentials and registry clients, each made on first use: most starts need none of them."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyrust_ctr.config import EngineConfig
    from pyrust_ctr.paths import Paths
    from pyrust_ctr.registry.client import RegistryClient
    from pyrust_ctr.registry.credentials import CredentialFile
    from pyrust_ctr.runtime.interface import Runtime


class RegistryAccess:
    """What stands between the image service and registries. Thread-safe."""

    def __init__(
        self,
        paths: Paths,
        runtime: Runtime,
        load: Callable[[], EngineConfig] | None,
        credentials: CredentialFile | None,
    ) -> None:
        self._paths = paths
        self._runtime = runtime
        self._load = load
        self._guard = threading.Lock()
        self._config: EngineConfig | None = None
        self._credentials = credentials

    def config(self) -> EngineConfig:
        """The settings in force."""
        with self._guard:
            if self._config is None:
                if self._load is not None:
                    self._config = self._load()
                else:
                    from pyrust_ctr.config import load_config

                    self._config = load_config(self._paths)
            return self._config

    def credentials(self) -> CredentialFile:
        """Docker's credential file; its place is looked up each time, for it follows the environment."""
        if self._credentials is not None:
            return self._credentials
        from pyrust_ctr.registry.credentials import CredentialFile

        return CredentialFile()

    def client(self, registry: str) -> RegistryClient:
        """The client for a registry by name."""
        from pyrust_ctr.registry.client import RegistryClient

        return RegistryClient(
            registry, runtime=self._runtime, config=self.config(), credentials=self.credentials()
        )
