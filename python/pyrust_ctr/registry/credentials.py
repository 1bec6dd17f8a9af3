"""Credentials for registries, in Docker's own file: `$DOCKER_CONFIG/config.json`, else
`~/.docker/config.json`.

Only `auths` is read and written. A credential helper is another program, and this engine runs none: where a
helper is configured and the registry then wants credentials, the error says so.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pyrust_ctr.errors import InvalidArgument, PermissionDenied, SystemError_
from pyrust_ctr.refs import DEFAULT_REGISTRY

DOCKER_HUB_KEY = "https://index.docker.io/v1/"
CONFIG_VARIABLE = "DOCKER_CONFIG"


@dataclass(frozen=True, slots=True)
class Credentials:
    """A name with a password, or an identity token that a token service gave out."""

    username: str
    password: str = field(repr=False, default="")
    identity_token: str = field(repr=False, default="")


@dataclass(frozen=True, slots=True)
class Lookup:
    """What the file knows about one registry."""

    credentials: Credentials | None = None
    helper: str = ""
    """Name of the credential helper that is configured for it and was not asked; empty when there is none."""


class CredentialFile:
    """Docker's configuration file, of which only the credentials are this engine's business."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path if path is not None else _default_path()

    def lookup(self, registry: str) -> Lookup:
        """The credentials of `registry` (`docker.io`, `localhost:5000`); none when the file is not there."""
        document = self._read()
        helper = _helper(document, registry)
        for key, entry in _entries(document, self.path).items():
            if _key_means(key, registry) and (found := self._credentials(key, entry)) is not None:
                return Lookup(found)
        return Lookup(None, helper)

    def store(self, registry: str, credentials: Credentials) -> None:
        """Keeps the credentials; everything else in the file stays as it is."""
        document = self._read()
        auths = dict(_entries(document, self.path))
        for key in [key for key in auths if _key_means(key, registry)]:
            del auths[key]
        pair = f"{credentials.username}:{credentials.password}".encode()
        entry: dict[str, Any] = {"auth": base64.b64encode(pair).decode("ascii")}
        if credentials.identity_token:
            entry["identitytoken"] = credentials.identity_token
        auths[_file_key(registry)] = entry
        document["auths"] = auths
        self._write(document)

    def erase(self, registry: str) -> bool:
        """Forgets the credentials; False when there were none."""
        document = self._read()
        auths = dict(_entries(document, self.path))
        keys = [key for key in auths if _key_means(key, registry)]
        if not keys:
            return False
        for key in keys:
            del auths[key]
        document["auths"] = auths
        self._write(document)
        return True

    def helper_for(self, registry: str) -> str:
        """Name of the credential helper that is configured for a registry; empty when there is none."""
        return _helper(self._read(), registry)

    def _read(self) -> dict[str, Any]:
        try:
            text = self.path.read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except UnicodeDecodeError as cause:
            raise InvalidArgument(f"the credentials in `{self.path}` are not UTF-8") from cause
        except OSError as cause:
            raise PermissionDenied(
                f"cannot read the credentials in `{self.path}`: {cause.strerror}"
            ) from cause
        if not text.strip():
            return {}
        try:
            document = json.loads(text)
        except (ValueError, RecursionError) as cause:
            raise InvalidArgument(f"the credentials in `{self.path}` are not valid JSON: {cause}") from cause
        if not isinstance(document, dict):
            raise InvalidArgument(f"the credentials in `{self.path}` are not a JSON object")
        return document

    def _credentials(self, key: str, entry: object) -> Credentials | None:
        if not isinstance(entry, dict):
            raise InvalidArgument(f"the entry `{key}` in `{self.path}` is not a JSON object")
        username, password = _text(entry, "username"), _text(entry, "password")
        if encoded := _text(entry, "auth"):
            try:
                pair = base64.b64decode(encoded, validate=True).decode()
            except (binascii.Error, ValueError) as cause:
                raise InvalidArgument(f"the `auth` of `{key}` in `{self.path}` is not base64 text") from cause
            username, colon, password = pair.partition(":")
            if not colon:
                raise InvalidArgument(f"the `auth` of `{key}` in `{self.path}` has no `name:password` in it")
            password = password.rstrip("\0")
        token = _text(entry, "identitytoken")
        if not username and not token:
            return None
        return Credentials(username, password, token)

    def _write(self, document: dict[str, Any]) -> None:
        # A link (dotfiles kept elsewhere) stays a link: the file that it names is replaced.
        target = Path(os.path.realpath(self.path))
        temporary = ""
        try:
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor, temporary = tempfile.mkstemp(prefix=".config.json.", dir=target.parent)  # mode 0600
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(document, file, indent="\t", ensure_ascii=False)
                file.write("\n")
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, target)
        except OSError as cause:
            if temporary:
                Path(temporary).unlink(missing_ok=True)
            raise SystemError_(f"cannot write the credentials to `{self.path}`: {cause.strerror}") from cause


def _default_path() -> Path:
    folder = os.environ.get(CONFIG_VARIABLE)
    return (Path(folder) if folder else Path.home() / ".docker") / "config.json"


def _entries(document: dict[str, Any], path: Path) -> dict[str, Any]:
    auths = document.get("auths") or {}
    if not isinstance(auths, dict):
        raise InvalidArgument(f"`auths` in `{path}` is not a JSON object")
    return auths


def _helper(document: dict[str, Any], registry: str) -> str:
    helpers = document.get("credHelpers")
    if isinstance(helpers, dict):
        for key, name in helpers.items():
            if isinstance(name, str) and name and _key_means(key, registry):
                return name
    name = document.get("credsStore")
    return name if isinstance(name, str) else ""


def _file_key(registry: str) -> str:
    return DOCKER_HUB_KEY if registry == DEFAULT_REGISTRY else registry


def _key_means(key: str, registry: str) -> bool:
    """Whether a key of the file (a host, or an old-style URL) is this registry."""
    if key == _file_key(registry):
        return True
    host = key.partition("://")[2] or key
    host = host.partition("/")[0].lower()
    if registry == DEFAULT_REGISTRY:
        return host in {DEFAULT_REGISTRY, "index.docker.io", "registry-1.docker.io"}
    return host == registry.lower()


def _text(entry: dict[str, Any], key: str) -> str:
    value = entry.get(key)
    return value if isinstance(value, str) else ""
