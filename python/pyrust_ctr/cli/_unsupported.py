"""Options that Docker has and this engine does not have yet: refused by name, with a sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pyrust_ctr.errors import UnsupportedOption

if TYPE_CHECKING:
    from collections.abc import Mapping

_NETWORKS: Final = "networks are not available yet; use `--network none` or `--network host`"
_DEVICES: Final = "single devices cannot be passed yet; `--privileged` shows all of them"
_HEALTH: Final = "health checks are not available yet"
_IO: Final = "limits of block devices are not available yet"
_RESTART: Final = "containers are not restarted yet; start them again with `pctr start`"
_MEMORY: Final = "use `--memory` and `--memory-swap`"
_CPU: Final = "use `--cpus`"
_RUNTIME: Final = "the engine is its own runtime"
_WINDOWS: Final = "it is for Windows containers"
_VOLUMES: Final = "volumes are not available yet; mount a directory of the host with `-v /from:/to`"

VALUES: Final[Mapping[str, str]] = {
    "--add-host": _NETWORKS,
    "--annotation": "annotations are not kept; use `--label`",
    "--attach/-a": "all streams are attached, or none with `--detach`",
    "--blkio-weight": _IO,
    "--blkio-weight-device": _IO,
    "--cgroup-parent": "every container is below the engine's own control group",
    "--cgroupns": "every container has a cgroup namespace of its own",
    "--cpu-count": _WINDOWS,
    "--cpu-percent": _WINDOWS,
    "--cpu-period": _CPU,
    "--cpu-quota": _CPU,
    "--cpu-rt-period": _CPU,
    "--cpu-rt-runtime": _CPU,
    "--detach-keys": "the keys are Ctrl-P Ctrl-Q",
    "--device": _DEVICES,
    "--device-cgroup-rule": _DEVICES,
    "--device-read-bps": _IO,
    "--device-read-iops": _IO,
    "--device-write-bps": _IO,
    "--device-write-iops": _IO,
    "--dns": _NETWORKS,
    "--dns-option": _NETWORKS,
    "--dns-search": _NETWORKS,
    "--expose": _NETWORKS,
    "--gpus": _DEVICES,
    "--health-cmd": _HEALTH,
    "--health-interval": _HEALTH,
    "--health-retries": _HEALTH,
    "--health-start-interval": _HEALTH,
    "--health-start-period": _HEALTH,
    "--health-timeout": _HEALTH,
    "--io-maxbandwidth": _WINDOWS,
    "--io-maxiops": _WINDOWS,
    "--ip": _NETWORKS,
    "--ip6": _NETWORKS,
    "--isolation": _WINDOWS,
    "--kernel-memory": _MEMORY,
    "--link": _NETWORKS,
    "--link-local-ip": _NETWORKS,
    "--mac-address": _NETWORKS,
    "--memory-reservation": _MEMORY,
    "--memory-swappiness": _MEMORY,
    "--network-alias": _NETWORKS,
    "--publish/-p": _NETWORKS,
    "--restart": _RESTART,
    "--runtime": _RUNTIME,
    "--storage-opt": "the size of the writable layer cannot be limited yet",
    "--sysctl": "kernel parameters cannot be set yet",
    "--userns": "user namespaces are not available yet",
    "--volume-driver": _VOLUMES,
    "--volumes-from": _VOLUMES,
}
"""Options with a value: why not, or what instead."""

FLAGS: Final[Mapping[str, str]] = {
    "--no-healthcheck": _HEALTH,
    "--oom-kill-disable": "a container at its memory limit is always killed",
    "--publish-all/-P": _NETWORKS,
    "--use-api-socket": "there is no API socket",
}
"""Options without a value."""


def reasons() -> dict[str, tuple[str, bool]]:
    """Every spelling of every option: why it is refused, and whether it takes a value."""
    return {
        name: (f"`{names.partition('/')[0]}` is not available: {reason}", takes_value)
        for table, takes_value in ((VALUES, True), (FLAGS, False))
        for names, reason in table.items()
        for name in names.split("/")
    }


def refuse(name: str, sentence: str, value: str | None) -> None:
    """Raises `UnsupportedOption`, unless the value is what is the case anyway."""
    if name == "--restart" and value == "no":
        return
    raise UnsupportedOption(sentence)
