"""Capabilities (`capabilities(7)`): names, Docker's default set, and the rules of `--cap-add` and
`--cap-drop`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pyrust_ctr.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Iterable

NAMES: Final[tuple[str, ...]] = (
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
)
"""Name by number."""

ALL: Final = "ALL"
ALL_MASK: Final = (1 << len(NAMES)) - 1

DEFAULTS: Final[frozenset[str]] = frozenset(
    {
        "CHOWN",
        "DAC_OVERRIDE",
        "FSETID",
        "FOWNER",
        "MKNOD",
        "NET_RAW",
        "SETGID",
        "SETUID",
        "SETFCAP",
        "SETPCAP",
        "NET_BIND_SERVICE",
        "SYS_CHROOT",
        "KILL",
        "AUDIT_WRITE",
    }
)
"""What a container has when nothing else is asked for: Docker's fourteen."""


def parse_capability(text: str) -> str:
    """`NET_ADMIN` of `net_admin`, `CAP_NET_ADMIN`; `ALL` of `all`."""
    name = text.strip().upper().removeprefix("CAP_")
    if name == ALL or name in NAMES:
        return name
    import difflib

    close = difflib.get_close_matches(name, NAMES, 1)
    hint = f"Did you mean `{close[0]}`?" if close else "`man 7 capabilities` lists them."
    raise InvalidArgument(f"`{text}` is not a capability", hint=hint)


def mask_of(names: Iterable[str]) -> int:
    """Bit mask, bit n being capability number n."""
    mask = 0
    for name in names:
        mask |= 1 << NAMES.index(name)
    return mask


def container_mask(
    added: Iterable[str], dropped: Iterable[str], *, is_privileged: bool, available: int
) -> int:
    """The capabilities of a container out of the `available` ones.

    Docker's rules: privileged is everything; `--cap-add ALL` is everything but the dropped; `--cap-drop ALL`
    is only the added; else the defaults, less the dropped, plus the added. A named capability that the
    machine
    does not grant is an error; a default one that it lacks is left out.
    """
    added, dropped = frozenset(added), frozenset(dropped)
    if is_privileged:
        return ALL_MASK & available
    named = added - {ALL}
    missing = sorted(name for name in named if not available >> NAMES.index(name) & 1)
    if missing:
        raise InvalidArgument(
            f"cannot add the capability `{missing[0]}`: this machine does not grant it to the engine"
        )
    if ALL in added:
        return ALL_MASK & available & ~mask_of(dropped - {ALL})
    if ALL in dropped:
        return mask_of(named)
    return (mask_of(DEFAULTS - dropped) & available) | mask_of(named)
