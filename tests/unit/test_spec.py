"""The specification that the shim gets: Docker's rules for what the image and the user say."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from pyrust_ctr.containers.configure import configure
from pyrust_ctr.containers.host import Host
from pyrust_ctr.containers.spec import JoinedContainer, Surroundings, build_spec
from pyrust_ctr.errors import InvalidArgument, UnsupportedOption
from pyrust_ctr.models import capability
from pyrust_ctr.models.container import ContainerConfig
from pyrust_ctr.models.image import Image, ImageConfig, Platform, ResolvedImage
from pyrust_ctr.models.mount import BindMount, TmpfsMount
from pyrust_ctr.models.options import ContainerOptions
from pyrust_ctr.models.ulimit import Ulimit

ID = "0123456789ab" + "c" * 52
HOST = Host("/var/lib/engine")
HOST.__dict__["capabilities"] = capability.ALL_MASK
HOST.__dict__["throttle_paths"] = ("/sys/devices/system/cpu/cpu0/thermal_throttle",)
AROUND = Surroundings(HOST)


def image(kind: Any = "layers", **config: Any) -> ResolvedImage:
    return ResolvedImage(
        Image("sha256:1", "", "", "linux/amd64", ("sha256:2",), 1, 0, 0, kind),
        ImageConfig(Platform("linux", "amd64"), ("sha256:2",), **config),
        "busybox",
        ("/",) if kind == "host" else ("/store/2", "/store/1"),
    )


def spec(
    resolved: ResolvedImage | None = None,
    command: list[str] | None = None,
    around: Surroundings = AROUND,
    **options: Any,
) -> dict[str, Any]:
    config = configure("busybox", command, ContainerOptions(**options), outer_env={"OUTER": "1"})
    return build_spec(ID, config, resolved or image(cmd=("sh",)), around)


def test_a_plain_container() -> None:
    built = spec()
    assert built == {
        "version": 1,
        "id": ID,
        "process": {
            "args": ["sh"],
            "env": [
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "HOSTNAME=0123456789ab",
            ],
            "cwd": "/",
            "user": {"name": "", "additional_groups": []},
            "capabilities": 0xA80425FB,
            "no_new_privileges": False,
            "rlimits": [],
        },
        "stdio": {"mode": "piped", "open_stdin": False, "stdin_once": False},
        "root": {
            "lowers": [
                {"kind": "directory", "path": "/store/2"},
                {"kind": "directory", "path": "/store/1"},
            ],
            "is_readonly": False,
            "is_volatile": False,
            "hidden_paths": [],
        },
        "hostname": "0123456789ab",
        "mounts": [],
        "files": built["files"],
        "shm_size_bytes": 64 << 20,
        "namespaces": {name: {"mode": "private"} for name in ("pid", "network", "ipc", "uts")},
        "limits": {},
        "devices": built["devices"],
        "seccomp": {"mode": "default"},
        "masked_paths": built["masked_paths"],
        "readonly_paths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        "writable_sys": False,
        "init": False,
        "log": {"driver": "json-file", "max_size_bytes": 10 << 20, "max_files": 3},
        "auto_remove": False,
    }
    assert len(built["masked_paths"]) == 13
    assert "/sys/devices/system/cpu/cpu0/thermal_throttle" in built["masked_paths"]


def test_the_network_files() -> None:
    files = {file["path"]: file["content"] for file in spec(hostname="box")["files"]}
    assert files["/etc/hostname"] == "box\n"
    assert "127.0.0.1\tlocalhost\n" in files["/etc/hosts"]
    assert "\tbox\n" in files["/etc/hosts"]
    assert files["/etc/resolv.conf"] == ""
    assert all(file["mode"] == 0o644 for file in spec()["files"])


def test_fuse_is_denied_and_null_allowed() -> None:
    devices = spec()["devices"]
    assert not devices["allow_all"]
    assert {"kind": "c", "major": 10, "minor": 229, "access": "rwm", "allow": False} in devices["rules"]
    assert {"kind": "c", "major": 1, "minor": 3, "access": "rwm", "allow": True} in devices["rules"]


@pytest.mark.parametrize(
    ("entrypoint", "cmd", "option", "command", "expected"),
    [
        (None, ("sh",), None, None, ["sh"]),
        (None, ("sh",), None, ["ls", "-l"], ["ls", "-l"]),
        (("e",), ("c",), None, None, ["e", "c"]),
        (("e",), ("c",), None, ["x"], ["e", "x"]),
        (("e",), ("c",), ["n"], None, ["n"]),
        (("e",), ("c",), "n", ["x"], ["n", "x"]),
        (("e",), ("c",), "", ["x"], ["x"]),
        (("e",), ("c",), [], ["x"], ["x"]),
        (("e",), ("c",), None, [], ["e", "c"]),
    ],
)
def test_entrypoint_and_command(
    entrypoint: Any, cmd: Any, option: Any, command: list[str] | None, expected: list[str]
) -> None:
    built = spec(image(entrypoint=entrypoint, cmd=cmd), command, entrypoint=option)
    assert built["process"]["args"] == expected


@pytest.mark.parametrize("options", [{}, {"entrypoint": ""}])
def test_something_must_be_run(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument, match="no command specified"):
        spec(image(cmd=() if options == {} else ("c",)), None, **options)


def test_an_empty_program_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="empty name"):
        spec(image(), [""])


def test_the_environment() -> None:
    built = spec(image(cmd=("sh",), env=("PATH=/bin", "A=1", "B=2")), tty=True, env=["B=3", "OUTER", "A"])
    assert built["process"]["env"] == ["PATH=/bin", "HOSTNAME=0123456789ab", "TERM=xterm", "B=3", "OUTER=1"]
    mapped = spec(image(cmd=("sh",), env=("A=1",)), env={"A": None, "C": "4"})["process"]["env"]
    assert "C=4" in mapped
    assert not any(entry.startswith("A=") for entry in mapped)


def test_what_the_image_says_and_the_user_overrides() -> None:
    resolved = image(cmd=("sh",), working_dir="/w//x/..", user="me:us")
    process = spec(resolved)["process"]
    assert (process["cwd"], process["user"]["name"]) == ("/w", "me:us")
    process = spec(resolved, workdir="/elsewhere", user="0", group_add=["5", "wheel"])["process"]
    assert process["cwd"] == "/elsewhere"
    assert process["user"] == {"name": "0", "additional_groups": ["5", "wheel"]}
    with pytest.raises(InvalidArgument, match="not an absolute path"):
        spec(image(cmd=("sh",), working_dir="relative"))


def test_privileged() -> None:
    built = spec(privileged=True)
    assert built["process"]["capabilities"] == capability.ALL_MASK
    assert built["devices"]["allow_all"]
    assert built["seccomp"] == {"mode": "unconfined"}
    assert built["masked_paths"] == built["readonly_paths"] == []
    assert built["writable_sys"]


def test_seccomp_profiles() -> None:
    assert spec(security_opt=["seccomp=unconfined"])["seccomp"] == {"mode": "unconfined"}
    profile = {"defaultAction": "SCMP_ACT_ALLOW"}
    built = spec(security_opt=[f"seccomp={json.dumps(profile)}"], privileged=True)
    assert built["seccomp"] == {"mode": "profile", "profile": profile}


def test_limits() -> None:
    limits = spec(memory="64m", memory_swap=-1, cpus=0.5, cpu_shares=512, cpuset_cpus="0", pids_limit=9)[
        "limits"
    ]
    assert limits == {
        "memory_bytes": 64 << 20,
        "memory_swap_bytes": -1,
        "cpu_quota_us": 50_000,
        "cpu_period_us": 100_000,
        "cpu_shares": 512,
        "cpuset_cpus": "0",
        "pids": 9,
    }
    assert spec(pids_limit=-1)["limits"] == {}
    rlimits = spec(ulimits={"nofile": (1024, 2048)})["process"]["rlimits"]
    assert rlimits == [{"resource": 7, "name": "nofile", "soft": 1024, "hard": 2048, "is_required": True}]


def test_mounts_are_made_parents_first() -> None:
    built = spec(volumes=["/h/a:/x/y"], mounts=[TmpfsMount("/x", 4096)], tmpfs={"/t": "ro"})
    assert [entry["target"] for entry in built["mounts"]] == ["/x", "/t", "/x/y"]
    assert built["mounts"][0]["kind"] == {"type": "tmpfs", "size_bytes": 4096, "mode": None}
    assert built["mounts"][2]["kind"] == {
        "type": "bind",
        "source": "/h/a",
        "recursive": True,
        "propagation": "private",
    }
    with pytest.raises(InvalidArgument, match="two mounts"):
        spec(volumes=["/a:/x", "/b:/x"])


def test_a_mount_replaces_a_network_file() -> None:
    built = spec(volumes=["/h/hosts:/etc/hosts"])
    assert "/etc/hosts" not in {file["path"] for file in built["files"]}


def test_the_host_image_hides_the_engine() -> None:
    built = spec(image("host", cmd=("sh",)))
    assert built["root"]["lowers"] == [{"kind": "directory", "path": "/"}]
    assert built["root"]["is_volatile"]
    assert built["root"]["hidden_paths"] == ["/var/lib/engine"]
    assert [entry["target"] for entry in built["mounts"]] == ["/tmp", "/run"]
    assert built["files"] == []
    assert built["process"]["cwd"] == "/"


def test_namespaces_of_others() -> None:
    joined = {
        "network": JoinedContainer(7, 99, "other", ({"path": "/etc/hosts", "content": "x", "mode": 0o644},))
    }
    around = replace(AROUND, joined=joined)
    built = spec(around=around, network="container:other", pid="host", uts="host", ipc="none")
    assert built["namespaces"]["network"] == {"mode": "process", "pid": 7, "start_time": 99}
    assert built["namespaces"]["pid"] == built["namespaces"]["uts"] == {"mode": "host"}
    assert built["namespaces"]["ipc"] == {"mode": "private"}
    assert built["files"] == [{"path": "/etc/hosts", "content": "x", "mode": 0o644}]
    assert built["mounts"][0]["target"] == "/dev/shm"
    assert spec(around=around, network="container:other")["hostname"] == "other"


def test_streams() -> None:
    assert spec(tty=True)["stdio"] == {"mode": "terminal", "rows": 24, "columns": 80}
    assert spec(stdin_open=True)["stdio"]["open_stdin"]
    built = spec(around=replace(AROUND, is_direct=True, timeout_ms=5))
    assert built["stdio"] == {"mode": "direct"}
    assert built["log"]["driver"] == "none"
    assert built["timeout_ms"] == 5


# --- configuration --------------------------------------------------------------------------------------


FULL = ContainerConfig(
    image="x",
    command=("a", "b"),
    entrypoint=(),
    env=("A=1",),
    labels={"k": "v"},
    mounts=(BindMount("/a", "/b"), TmpfsMount("/t", 5)),
    ulimits=(Ulimit("nofile", 1, 2),),
    cap_add=("CHOWN",),
    cap_drop=("ALL",),
    groups=("1",),
    memory_bytes=1,
    stop_timeout_s=1.5,
    tty=True,
)


@pytest.mark.parametrize("config", [ContainerConfig(image="x"), FULL])
def test_a_configuration_survives_being_kept(config: ContainerConfig) -> None:
    assert ContainerConfig.from_json(config.to_json()) == config


def test_defaults_are_not_kept() -> None:
    assert ContainerConfig(image="x").to_json() == '{"image":"x"}'


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"memory": "1m"}, "at least 6m"),
        ({"memory_swap": "64m"}, "needs `memory`"),
        ({"memory": "64m", "memory_swap": "32m"}, "cannot be below"),
        ({"cpus": 0.001}, "between 0.01"),
        ({"cpus": 10_000}, "the CPUs of this machine"),
        ({"cpus": "many"}, "must be a number"),
        ({"cpu_shares": 1}, "between 2"),
        ({"cpuset_cpus": "0-"}, "list like"),
        ({"pids_limit": -5}, "positive"),
        ({"workdir": "x"}, "absolute"),
        ({"hostname": "a b"}, "is not a hostname"),
        ({"hostname": "-a"}, "is not a hostname"),
        ({"cap_add": ["X"]}, "is not a capability"),
        ({"log_driver": "mine"}, "is not a log driver"),
        ({"oom_score_adj": 2000}, "-1000"),
        ({"stop_signal": "NO"}, "is not a signal"),
        ({"stop_timeout": -2}, "seconds"),
        ({"log_opts": {"max-file": "0"}}, "max-file"),
        ({"env": {"": "x"}}, "needs a name"),
        ({"memroy": 1}, "no option `memroy`"),
        ({"user": "x\0"}, "NUL"),
    ],
)
def test_wrong_options_name_themselves(options: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidArgument, match=text):
        configure("x", None, options, outer_env={})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "options", [{"log_driver": "syslog"}, {"log_opts": {"tag": "x"}}, {"network": "bridge"}]
)
def test_what_docker_has_and_we_have_not_is_refused_by_name(options: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedOption):
        configure("x", None, options, outer_env={})  # type: ignore[arg-type]


def test_none_leaves_an_option_alone() -> None:
    config = configure("x", None, {"memory": None, "cpus": None, "name": None}, outer_env={})
    assert config == ContainerConfig(image="x")


def test_a_command_must_be_texts() -> None:
    assert configure("x", "one word", {}, outer_env={}).command == ("one word",)
    for command in ([b"x"], ["a\0b"]):
        with pytest.raises(InvalidArgument):
            configure("x", command, {}, outer_env={})  # type: ignore[arg-type]
