"""Settings of the engine: `/etc/pyrust-ctr/config.toml`, then `config.toml` in the state directory, then
environment.

    parallel_downloads = 3              # layers fetched at once
    max_layer_bytes = 34359738368       # a layer that unpacks to more is refused
    registry_timeout_s = 30.0           # the longest silence of a registry

    [registries."localhost:5000"]
    plain_http = true                   # never https
    insecure = true                     # certificates are not checked, plain http when https does not answer
    ca_file = "/etc/ssl/my-ca.pem"      # further certificate authorities
    mirrors = ["https://mirror.example.com"]

A later file replaces the values of an earlier one key by key. A key that is not known is refused, naming file
and key.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyrust_ctr.errors import InvalidArgument, InvalidReference
from pyrust_ctr.refs import normalize_registry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyrust_ctr.paths import Paths

SYSTEM_FILE = Path("/etc/pyrust-ctr/config.toml")
FILE_NAME = "config.toml"
PARALLEL_VARIABLE = "PYRUST_CTR_PARALLEL_DOWNLOADS"
TIMEOUT_VARIABLE = "PYRUST_CTR_REGISTRY_TIMEOUT_S"

DEFAULT_MAX_LAYER_BYTES = 32 << 30


@dataclass(frozen=True, slots=True)
class RegistrySettings:
    """How one registry is reached."""

    plain_http: bool = False
    insecure: bool = False
    ca_file: str | None = None
    mirrors: tuple[str, ...] = ()
    """Base URLs, tried in order before the registry itself."""


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """Every setting, with its default."""

    parallel_downloads: int = 3
    max_layer_bytes: int = DEFAULT_MAX_LAYER_BYTES
    registry_timeout_s: float = 30.0
    registries: Mapping[str, RegistrySettings] = field(default_factory=dict)

    def registry(self, name: str) -> RegistrySettings:
        """The settings of one registry (`docker.io`, `localhost:5000`)."""
        return self.registries.get(name) or self.registries.get(name.lower()) or RegistrySettings()


def load_config(
    paths: Paths, *, environ: Mapping[str, str] | None = None, system_file: Path = SYSTEM_FILE
) -> EngineConfig:
    """The settings that are in force; `InvalidArgument` names the file, the key and what is wrong with it."""
    config = EngineConfig()
    for file in (system_file, paths.root / FILE_NAME):
        document = _read(file)
        if document is not None:
            config = _merged(config, document, file)
    return _with_environment(config, os.environ if environ is None else environ)


def _read(file: Path) -> dict[str, Any] | None:
    try:
        text = file.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except UnicodeDecodeError as cause:
        raise InvalidArgument(f"cannot read the settings in `{file}`: it is not UTF-8") from cause
    except OSError as cause:
        raise InvalidArgument(f"cannot read the settings in `{file}`: {cause.strerror}") from cause
    import tomllib

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as cause:
        raise InvalidArgument(f"the settings in `{file}` are not valid TOML: {cause}") from cause


def _merged(config: EngineConfig, document: dict[str, Any], file: Path) -> EngineConfig:
    _refuse_unknown(document, EngineConfig, file, "")
    values: dict[str, Any] = {}
    for key, value in document.items():
        if key == "registries":
            values[key] = _registries(config.registries, value, file)
        elif key == "registry_timeout_s":
            values[key] = _seconds(value, f"`{key}` in `{file}`")
        else:
            values[key] = _positive(value, f"`{key}` in `{file}`")
    return replace(config, **values)


def _registries(
    known: Mapping[str, RegistrySettings], tables: object, file: Path
) -> Mapping[str, RegistrySettings]:
    if not isinstance(tables, dict):
        raise InvalidArgument(f'`registries` in `{file}` must be a table: `[registries."host:port"]`')
    merged = dict(known)
    for name, table in tables.items():
        where = f"registries.{name}"
        if not isinstance(table, dict):
            raise InvalidArgument(f"`{where}` in `{file}` must be a table")
        _refuse_unknown(table, RegistrySettings, file, f"{where}.")
        try:
            host = normalize_registry(name)
        except InvalidReference as cause:
            raise InvalidArgument(f"`{where}` in `{file}`: {cause.message}") from cause
        values = {
            key: _registry_value(key, value, f"`{where}.{key}` in `{file}`") for key, value in table.items()
        }
        merged[host] = replace(merged.get(host, RegistrySettings()), **values)
    return merged


def _registry_value(key: str, value: object, where: str) -> Any:
    if key == "mirrors":
        if not isinstance(value, list) or not all(isinstance(url, str) for url in value):
            raise InvalidArgument(f"{where} must be a list of URLs")
        return tuple(_mirror(url, where) for url in value)
    if key == "ca_file":
        if not isinstance(value, str) or not os.path.isabs(value):
            raise InvalidArgument(f"{where} must be an absolute path")
        if not os.path.isfile(value):
            raise InvalidArgument(f"{where} names `{value}`, which is not a file")
        return value
    if not isinstance(value, bool):
        raise InvalidArgument(f"{where} must be `true` or `false`")
    return value


def _mirror(url: str, where: str) -> str:
    scheme, separator, rest = url.partition("://")
    host = rest.rstrip("/")
    if not separator or scheme not in {"http", "https"} or not host or "/" in host or "@" in host:
        raise InvalidArgument(
            f"{where}: `{url}` is not a mirror, expected `https://host` or `http://host:port`"
        )
    normalize_registry(host)
    return f"{scheme}://{host}"


def _with_environment(config: EngineConfig, environ: Mapping[str, str]) -> EngineConfig:
    if text := environ.get(PARALLEL_VARIABLE):
        where = f"the environment variable `{PARALLEL_VARIABLE}`"
        config = replace(config, parallel_downloads=_positive(int(text) if text.isdecimal() else text, where))
    if text := environ.get(TIMEOUT_VARIABLE):
        where = f"the environment variable `{TIMEOUT_VARIABLE}`"
        try:
            seconds = float(text)
        except ValueError:
            raise InvalidArgument(f"{where} must be a number of seconds, not `{text}`") from None
        config = replace(config, registry_timeout_s=_seconds(seconds, where))
    return config


def _positive(value: object, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InvalidArgument(f"{where} must be a whole number above 0, not `{value}`")
    return value


def _seconds(value: object, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise InvalidArgument(f"{where} must be a number of seconds above 0, not `{value}`")
    return float(value)


def _refuse_unknown(
    table: dict[str, Any], shape: type[EngineConfig | RegistrySettings], file: Path, prefix: str
) -> None:
    known = {item.name for item in fields(shape)}
    for key in table:
        if key not in known:
            choices = ", ".join(f"`{name}`" for name in sorted(known))
            raise InvalidArgument(f"`{prefix}{key}` in `{file}` is not a setting; there are {choices}")
