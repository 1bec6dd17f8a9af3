"""`--security-opt`: the system call filter, `no_new_privs`, and what is refused by name."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pyrust_ctr.errors import InvalidArgument, UnsupportedOption

if TYPE_CHECKING:
    from collections.abc import Iterable

MAXIMUM_PROFILE_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class SecurityOptions:
    """What the options ask for."""

    seccomp: str = "default"
    """`default`, `unconfined`, or a profile in Docker's JSON form."""
    no_new_privileges: bool = False
    shows_system_paths: bool = False
    """Nothing in `/proc` and `/sys` is masked or read-only."""


def parse_security_options(options: Iterable[str]) -> SecurityOptions:
    """`seccomp=unconfined|builtin|FILE`, `no-new-privileges[=true|false]`, `systempaths=unconfined`.

    `apparmor=unconfined` and `label=disable` ask for what is the case; every other option is refused.
    """
    chosen = SecurityOptions()
    for option in options:
        # Docker took `name:value` once, and still does.
        separator = "=" if "=" in option else ":"
        name, given, value = option.partition(separator)
        if name == "no-new-privileges":
            if value.lower() not in {"", "true", "false"}:
                raise InvalidArgument(f"`no-new-privileges` is `true` or `false`, not `{value}`")
            chosen = replace(chosen, no_new_privileges=value.lower() != "false")
        elif name == "seccomp" and given:
            chosen = replace(chosen, seccomp=_seccomp(value))
        elif name == "systempaths" and value == "unconfined":
            chosen = replace(chosen, shows_system_paths=True)
        elif option in {"apparmor=unconfined", "label=disable", "label:disable", "apparmor:unconfined"}:
            continue
        elif name in {"apparmor", "label", "credentialspec", "writable-cgroups", "systempaths"}:
            raise UnsupportedOption(f"the security option `{name}` is not available yet: `{option}`")
        else:
            raise InvalidArgument(f"`{option}` is not a security option")
    return chosen


def _seccomp(value: str) -> str:
    if value in {"unconfined", "default"}:
        return value
    if value == "builtin":
        return "default"
    text = value if value.lstrip().startswith("{") else _read(value)
    try:
        profile = json.loads(text)
    except ValueError as cause:
        raise InvalidArgument(f"the seccomp profile `{_shown(value)}` is not JSON: {cause}") from cause
    if not isinstance(profile, dict):
        raise InvalidArgument(f"the seccomp profile `{_shown(value)}` is not a JSON object")
    return json.dumps(profile, separators=(",", ":"))


def _read(path: str) -> str:
    try:
        with open(os.path.expanduser(path), "rb") as file:
            data = file.read(MAXIMUM_PROFILE_BYTES + 1)
        if len(data) > MAXIMUM_PROFILE_BYTES:
            raise InvalidArgument(
                f"the seccomp profile `{path}` is larger than {MAXIMUM_PROFILE_BYTES} bytes"
            )
        return data.decode()
    except OSError as cause:
        raise InvalidArgument(f"cannot read the seccomp profile `{path}`: {cause.strerror}") from cause
    except UnicodeDecodeError as cause:
        raise InvalidArgument(f"the seccomp profile `{path}` is not text") from cause


def _shown(value: str) -> str:
    return value if len(value) <= 60 else f"{value[:60]}…"
