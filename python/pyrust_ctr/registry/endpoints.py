"""Where a registry is reached: mirrors first, then the registry itself, plain http only where that is
allowed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyrust_ctr.refs import DEFAULT_REGISTRY

if TYPE_CHECKING:
    from pyrust_ctr.config import EngineConfig

DOCKER_HUB_HOST = "registry-1.docker.io"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One base URL to try."""

    base_url: str
    credentials_key: str
    """The registry whose credentials go there: a mirror never gets those of the registry that it mirrors."""
    insecure: bool = False
    """Certificates are not checked."""
    ca_file: str | None = None
    is_mirror: bool = False
    is_fallback: bool = False
    """Plain http, tried only because https did not answer."""


def endpoints_for(registry: str, config: EngineConfig) -> tuple[Endpoint, ...]:
    """The endpoints of a registry in the order in which they are tried."""
    settings = config.registry(registry)
    found = [_mirror(url, config) for url in settings.mirrors]
    host = DOCKER_HUB_HOST if registry == DEFAULT_REGISTRY else registry
    if settings.plain_http:
        found.append(Endpoint(f"http://{host}", registry))
    elif settings.insecure or is_loopback(registry):
        found.append(Endpoint(f"https://{host}", registry, insecure=True, ca_file=settings.ca_file))
        found.append(Endpoint(f"http://{host}", registry, is_fallback=True))
    else:
        found.append(Endpoint(f"https://{host}", registry, ca_file=settings.ca_file))
    return tuple(found)


def _mirror(url: str, config: EngineConfig) -> Endpoint:
    host = url.partition("://")[2]
    settings = config.registry(host)
    return Endpoint(url, host, insecure=settings.insecure, ca_file=settings.ca_file, is_mirror=True)


def is_loopback(registry: str) -> bool:
    """Whether `host[:port]` is this machine: `localhost`, `127.0.0.0/8`, `[::1]`."""
    if registry.startswith("["):
        host = registry[1:].partition("]")[0]
    else:
        host = registry.partition(":")[0]
    if host == "localhost":
        return True
    from ipaddress import ip_address

    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
