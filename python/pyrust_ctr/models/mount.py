"""Mounts of a container, and Docker's three notations for them: `-v`, `--mount`, `--tmpfs`."""

from __future__ import annotations

import os
import posixpath
import re
from dataclasses import dataclass
from typing import Any, Final

from pyrust_ctr.errors import InvalidArgument, UnsupportedOption
from pyrust_ctr.models.size import parse_size

PROPAGATIONS: Final = {
    "private": "private",
    "rprivate": "private",
    "slave": "slave",
    "rslave": "slave",
    "shared": "shared",
    "rshared": "shared",
}
_IGNORED_MODES: Final = frozenset({"rw", "z", "Z", "cached", "delegated", "consistent", ""})
_VOLUME_NAME: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*", re.ASCII)
_OCTAL: Final = re.compile(r"0?o?([0-7]{1,4})", re.ASCII)
_VOLUME_HINT: Final = "Mount a directory of the host instead: `-v /path/on/host:/path/in/container`."


@dataclass(frozen=True, slots=True)
class BindMount:
    """A file or directory of the host, shown in the container."""

    source: str
    """Absolute path on the host."""
    target: str
    """Absolute path in the container."""
    is_readonly: bool = False
    is_recursive: bool = True
    propagation: str = "private"
    """`private`, `slave` or `shared`."""
    creates_source: bool = False
    """A missing source is made as a directory (`-v`); otherwise it is an error (`--mount`)."""

    def __post_init__(self) -> None:
        if not self.source.startswith("/"):
            raise InvalidArgument(f"the source of a bind mount must be an absolute path, not `{self.source}`")
        if self.propagation not in {"private", "slave", "shared"}:
            raise InvalidArgument(f"`{self.propagation}` is not a mount propagation")
        _check_target(self.target)


@dataclass(frozen=True, slots=True)
class TmpfsMount:
    """A fresh file system in memory."""

    target: str
    size_bytes: int | None = None
    """None is half of the memory."""
    mode: int | None = None
    """Permission bits of its root; None is 0o1777."""
    is_readonly: bool = False
    no_exec: bool = True
    no_suid: bool = True
    no_dev: bool = True

    def __post_init__(self) -> None:
        _check_target(self.target)


Mount = BindMount | TmpfsMount


def parse_volume(text: str) -> BindMount:
    """`-v SOURCE:TARGET[:OPTIONS]`. Volumes, named or anonymous, are refused by name."""
    fields = text.split(":")
    if len(fields) == 1 and text:
        raise UnsupportedOption(f"anonymous volumes are not available yet: `{text}`", hint=_VOLUME_HINT)
    if not 2 <= len(fields) <= 3 or not fields[0] or not fields[1]:
        raise InvalidArgument(f"a volume is `SOURCE:TARGET[:OPTIONS]`, not `{text}`")
    source, target = fields[0], fields[1]
    if _VOLUME_NAME.fullmatch(source):
        raise UnsupportedOption(f"named volumes are not available yet: `{source}`", hint=_VOLUME_HINT)
    options: dict[str, Any] = {}
    for mode in (fields[2] if len(fields) == 3 else "").split(","):
        if mode == "ro":
            options["is_readonly"] = True
        elif mode in PROPAGATIONS:
            options["propagation"] = PROPAGATIONS[mode]
        elif mode not in _IGNORED_MODES:
            raise InvalidArgument(f"`{mode}` is not an option of a bind mount: `{text}`")
    return BindMount(_host_path(source), _clean_target(target), creates_source=True, **options)


def parse_mount(text: str) -> Mount:
    """`--mount type=bind|tmpfs,…`."""
    fields = _mount_fields(text)
    kind = fields.pop("type", "volume")
    if kind in {"volume", "npipe", "cluster", "image"}:
        raise UnsupportedOption(f"mounts of type `{kind}` are not available yet: `{text}`", hint=_VOLUME_HINT)
    if kind not in {"bind", "tmpfs"}:
        raise InvalidArgument(f"`{kind}` is not a type of mount", hint="Use `type=bind` or `type=tmpfs`.")
    target = fields.pop("target", "")
    if not target:
        raise InvalidArgument(f"a mount needs a `target`: `{text}`")
    is_readonly = _boolean(fields.pop("readonly", "false"), "readonly")
    fields.pop("consistency", None)
    mount = (_bind if kind == "bind" else _tmpfs)(fields, _clean_target(target), is_readonly, text)
    if fields:
        raise InvalidArgument(f"`{next(iter(fields))}` is not an option of a mount of type `{kind}`")
    return mount


def parse_tmpfs(text: str) -> TmpfsMount:
    """`--tmpfs TARGET[:OPTIONS]`: `size=`, `mode=`, `ro`, `rw`, `exec`, `noexec`, `suid`, `nosuid`,
    `dev`, `nodev`.
    """
    target, _, options = text.partition(":")
    values: dict[str, Any] = {}
    flags = {
        "ro": ("is_readonly", True),
        "rw": ("is_readonly", False),
        "exec": ("no_exec", False),
        "noexec": ("no_exec", True),
        "suid": ("no_suid", False),
        "nosuid": ("no_suid", True),
        "dev": ("no_dev", False),
        "nodev": ("no_dev", True),
    }
    for option in filter(None, options.split(",")):
        name, _, value = option.partition("=")
        if option in flags:
            field, flag = flags[option]
            values[field] = flag
        elif name == "size" and value:
            values["size_bytes"] = parse_size(value, "the size of a tmpfs")
        elif name == "mode" and value:
            values["mode"] = _mode(value)
        elif name in {"uid", "gid", "nr_inodes", "nr_blocks", "mpol", "huge"}:
            raise UnsupportedOption(f"the tmpfs option `{name}` is not available yet: `{text}`")
        else:
            raise InvalidArgument(f"`{option}` is not an option of a tmpfs: `{text}`")
    return TmpfsMount(_clean_target(target), **values)


def mount_to_json(mount: Mount) -> dict[str, Any]:
    """A JSON object that `mount_from_json` reads."""
    kind = "bind" if isinstance(mount, BindMount) else "tmpfs"
    return {"type": kind, **{name: getattr(mount, name) for name in mount.__dataclass_fields__}}


def mount_from_json(document: dict[str, Any]) -> Mount:
    """The mount of a JSON object."""
    values = dict(document)
    return (BindMount if values.pop("type") == "bind" else TmpfsMount)(**values)


def _bind(fields: dict[str, str], target: str, is_readonly: bool, text: str) -> BindMount:
    source = fields.pop("source", "")
    if not source:
        raise InvalidArgument(f"a bind mount needs a `source`: `{text}`")
    propagation = fields.pop("bind-propagation", "private")
    if propagation not in PROPAGATIONS:
        raise InvalidArgument(f"`{propagation}` is not a mount propagation: `{text}`")
    is_recursive = not _boolean(fields.pop("bind-nonrecursive", "false"), "bind-nonrecursive")
    recursion = fields.pop("bind-recursive", "enabled")
    if recursion in {"writable", "readonly"}:
        raise UnsupportedOption(f"`bind-recursive={recursion}` is not available yet")
    if recursion not in {"enabled", "disabled"}:
        raise InvalidArgument(f"`{recursion}` is not a value of `bind-recursive`")
    return BindMount(
        _host_path(source),
        target,
        is_readonly,
        is_recursive and recursion == "enabled",
        PROPAGATIONS[propagation],
    )


def _tmpfs(fields: dict[str, str], target: str, is_readonly: bool, text: str) -> TmpfsMount:
    if "source" in fields:
        raise InvalidArgument(f"a tmpfs has no `source`: `{text}`")
    size = fields.pop("tmpfs-size", None)
    mode = fields.pop("tmpfs-mode", None)
    return TmpfsMount(
        target,
        None if size is None else parse_size(size, "the size of a tmpfs"),
        None if mode is None else _mode(mode),
        is_readonly,
    )


def _mount_fields(text: str) -> dict[str, str]:
    import csv

    names = {"src": "source", "dst": "target", "destination": "target", "ro": "readonly"}
    fields: dict[str, str] = {}
    for part in next(csv.reader([text]), []):
        name, equals, value = part.partition("=")
        name = names.get(name.strip().lower(), name.strip().lower())
        if name.startswith("volume-"):
            raise UnsupportedOption(f"volumes are not available yet: `{text}`", hint=_VOLUME_HINT)
        if not equals and name not in {"readonly", "bind-nonrecursive"}:
            raise InvalidArgument(f"a mount is a list of `name=value`, and `{part}` is not: `{text}`")
        fields[name] = value if equals else "true"
    return fields


def _boolean(text: str, what: str) -> bool:
    if text.lower() in {"1", "true"}:
        return True
    if text.lower() in {"0", "false"}:
        return False
    raise InvalidArgument(f"`{what}` is `true` or `false`, not `{text}`")


def _mode(text: str) -> int:
    match = _OCTAL.fullmatch(text)
    if match is None:
        raise InvalidArgument(f"a mode is an octal number like `1777`, not `{text}`")
    return int(match[1], 8)


def _host_path(text: str) -> str:
    if "\0" in text:
        raise InvalidArgument("a path has a NUL character")
    return os.path.abspath(os.path.expanduser(text))


def _clean_target(text: str) -> str:
    if not text.startswith("/"):
        raise InvalidArgument(f"the target of a mount must be an absolute path, not `{text}`")
    return posixpath.normpath(text).replace("//", "/")


def _check_target(target: str) -> None:
    if not target.startswith("/") or "\0" in target:
        raise InvalidArgument(f"the target of a mount must be an absolute path, not `{target}`")
    if posixpath.normpath(target) in {"/", "//"}:
        raise InvalidArgument("the target of a mount cannot be `/`")
