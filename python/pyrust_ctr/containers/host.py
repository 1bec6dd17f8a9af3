"""Facts of this machine that a container's specification depends on; read once, when first needed."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from pyrust_ctr.models.capability import ALL_MASK

_CPU_FOLDERS: Final = "/sys/devices/system/cpu"
_CPU: Final = re.compile(r"cpu\d+", re.ASCII)
_MAXIMUM_FILE_BYTES: Final = 1024 * 1024


@dataclass(frozen=True)
class Host:
    """The machine, as the engine sees it. `cached_property` needs a `__dict__`, so this has no slots."""

    state_root: str
    """Absolute path of the engine's state, hidden from containers on the `host` image."""

    @cached_property
    def capabilities(self) -> int:
        """The capabilities that this process may hand on (its bounding set that it also has), as a
        bit mask.
        """
        status = read_text("/proc/self/status")
        masks = [
            int(match, 16) for match in re.findall(r"^Cap(?:Bnd|Prm):\s*([0-9a-f]+)$", status, re.MULTILINE)
        ]
        return masks[0] & masks[1] & ALL_MASK if len(masks) == 2 else ALL_MASK

    @cached_property
    def throttle_paths(self) -> tuple[str, ...]:
        """Every `/sys/devices/system/cpu/cpuN/thermal_throttle` of this machine, to be masked."""
        try:
            names = sorted(filter(_CPU.fullmatch, os.listdir(_CPU_FOLDERS)), key=lambda name: int(name[3:]))
        except OSError:
            return ()
        paths = (f"{_CPU_FOLDERS}/{name}/thermal_throttle" for name in names)
        return tuple(path for path in paths if os.path.isdir(path))

    @cached_property
    def hidden_paths(self) -> tuple[str, ...]:
        """The engine's state, as it was named and as it really is."""
        return tuple(dict.fromkeys((self.state_root, os.path.realpath(self.state_root))))

    @property
    def hostname(self) -> str:
        """The machine's own name."""
        return os.uname().nodename


def read_text(path: str) -> str:
    """The beginning of a small file of the machine; empty when it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read(_MAXIMUM_FILE_BYTES).decode(errors="replace")
    except OSError:
        return ""
