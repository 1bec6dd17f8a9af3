"""The little languages of options: sizes, durations, mounts, signals, capabilities, limits, variables."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrust_ctr.errors import Error, InvalidArgument, UnsupportedOption
from pyrust_ctr.models import capability, duration, environment, mount, namespace
from pyrust_ctr.models.moment import NEVER, rfc3339
from pyrust_ctr.models.mount import BindMount, TmpfsMount
from pyrust_ctr.models.security import parse_security_options
from pyrust_ctr.models.signal import parse_signal, signal_name
from pyrust_ctr.models.size import parse_size
from pyrust_ctr.models.ulimit import UNLIMITED, Ulimit

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("512", 512),
        ("0", 0),
        ("64m", 64 << 20),
        ("64M", 64 << 20),
        ("64MB", 64 << 20),
        ("64mib", 64 << 20),
        ("1.5g", 3 << 29),
        ("1 kb", 1024),
        ("2t", 2 << 40),
        (4096, 4096),
    ],
)
def test_sizes(text: str | int, size: int) -> None:
    assert parse_size(text, "x") == size


@pytest.mark.parametrize("text", ["", "m", "-1", "64x", "6 4m", "0x10", "1e3", "٣", "9999p", -1, True])
def test_wrong_sizes_are_refused(text: str | int) -> None:
    with pytest.raises(InvalidArgument, match="the size"):
        parse_size(text, "the size")


@given(st.integers(0, 2**40))
def test_a_number_of_bytes_is_itself(size: int) -> None:
    assert parse_size(size, "x") == parse_size(str(size), "x") == parse_size(f"{size}b", "x") == size


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("10s", 10**10),
        ("1h30m", 5400 * 10**9),
        ("1.5m", 90 * 10**9),
        ("100ms", 10**8),
        ("0", 0),
        ("2us", 2000),
    ],
)
def test_durations(text: str, nanoseconds: int) -> None:
    assert duration.parse_duration_ns(text, "x") == nanoseconds


@pytest.mark.parametrize("text", ["", "10", "s", "1h 30m", "-1s", "1x", "1hh"])
def test_wrong_durations_are_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        duration.parse_duration_ns(text, "x")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01T00:00:01Z", 1),
        ("1970-01-01T01:00:00+01:00", 0),
        ("2026-01-31T12:00:00.5Z", 1769860800.5),
        ("1769860800", 1769860800),
        ("1769860800.25", 1769860800.25),
    ],
)
def test_moments(text: str, seconds: float) -> None:
    assert duration.parse_moment_ns(text, "x") == int(seconds * 100) * 10**7


@pytest.mark.parametrize(
    "text", ["2026-13-01", "2026-02-30T00:00:00Z", "yesterday", "2026-01-01T25:00:00Z", ""]
)
def test_wrong_moments_are_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        duration.parse_moment_ns(text, "x")


@given(st.integers(10**9, 4 * 10**18))
def test_a_moment_survives_being_written(moment_ns: int) -> None:
    assert duration.parse_moment_ns(rfc3339(moment_ns), "x") == moment_ns


def test_a_moment_that_has_not_come() -> None:
    assert rfc3339(0) == NEVER


# --- mounts ---------------------------------------------------------------------------------------------


def test_a_volume_of_two_paths_is_a_bind_mount() -> None:
    assert mount.parse_volume("/a:/b") == BindMount("/a", "/b", creates_source=True)
    assert mount.parse_volume("/a:/b:ro,rslave,z") == BindMount(
        "/a", "/b", is_readonly=True, propagation="slave", creates_source=True
    )


def test_relative_sources_are_of_the_caller(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    assert mount.parse_volume("./x:/b").source == str(tmp_path / "x")
    assert mount.parse_volume("../x:/b").source == str(tmp_path.parent / "x")
    assert mount.parse_volume("~/x:/b").source == "/home/me/x"


@pytest.mark.parametrize("text", ["data:/b", "/only", "data"])
def test_volumes_are_refused_by_name(text: str) -> None:
    with pytest.raises(UnsupportedOption, match="volumes are not available yet"):
        mount.parse_volume(text)


@pytest.mark.parametrize(
    "text", ["", ":", "/a:", ":/b", "/a:b", "/a:/b:rw:x", "/a:/b:quick", "/a:/", "/a:/.."]
)
def test_wrong_volumes_are_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        mount.parse_volume(text)


def test_mounts_by_name_and_value() -> None:
    assert mount.parse_mount("type=bind,source=/a,target=/b") == BindMount("/a", "/b")
    assert mount.parse_mount("type=bind,src=/a,dst=/b,readonly,bind-propagation=rshared") == BindMount(
        "/a", "/b", is_readonly=True, propagation="shared"
    )
    assert mount.parse_mount("type=bind,src=/a,dst=/b,ro=false,bind-recursive=disabled") == BindMount(
        "/a", "/b", is_recursive=False
    )
    assert mount.parse_mount('type=bind,"src=/a,b",dst=/b') == BindMount("/a,b", "/b")
    assert mount.parse_mount("type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=1770") == TmpfsMount(
        "/t", 1 << 20, 0o1770
    )


@pytest.mark.parametrize("text", ["source=v,target=/b", "type=volume,target=/b", "type=image,src=x,dst=/y"])
def test_other_types_of_mounts_are_refused_by_name(text: str) -> None:
    with pytest.raises(UnsupportedOption):
        mount.parse_mount(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "type=bind,target=/b",
        "type=bind,source=/a",
        "type=bind,source=/a,target=b",
        "type=nfs,source=/a,target=/b",
        "type=bind,source=/a,target=/b,what=1",
        "type=tmpfs,source=/a,target=/b",
        "type=tmpfs,target=/b,tmpfs-mode=999",
        "type=bind,source=/a,target=/b,readonly=maybe",
        "type",
    ],
)
def test_wrong_mounts_are_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        mount.parse_mount(text)


def test_tmpfs_options() -> None:
    assert mount.parse_tmpfs("/t") == TmpfsMount("/t")
    parsed = mount.parse_tmpfs("/t/:size=16m,mode=700,ro,exec,dev,suid")
    assert parsed == TmpfsMount("/t", 16 << 20, 0o700, True, False, False, False)
    assert mount.parse_tmpfs("/t").no_exec, "Docker's default"


@pytest.mark.parametrize("text", ["t", "/t:size", "/t:quick", "/", "/t:mode=8", "/t:uid=1"])
def test_wrong_tmpfs_options_are_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        mount.parse_tmpfs(text)


_NAMES = st.text("abc/.,:=-_ ~", max_size=20)


@given(_NAMES)
def test_no_mount_text_does_more_than_raise_an_error_of_ours(text: str) -> None:
    for parse in (mount.parse_volume, mount.parse_mount, mount.parse_tmpfs):
        try:
            parsed = parse(text)
        except Error:
            continue
        assert parsed.target.startswith("/")
        assert parsed.target != "/"
        assert "/../" not in f"{parsed.target}/"
        assert mount.mount_from_json(mount.mount_to_json(parsed)) == parsed


# --- signals, capabilities, limits ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "number"),
    [("SIGTERM", 15), ("term", 15), ("15", 15), (9, 9), ("RTMIN", 34), ("SIGRTMIN+3", 37), ("RTMAX-1", 63)],
)
def test_signals(text: str | int, number: int) -> None:
    assert parse_signal(text) == number


@pytest.mark.parametrize("text", ["", "0", 0, "65", "SIGNOTHING", "-9", -9, "RTMIN+99", "RTMIN+x", True])
def test_wrong_signals_are_refused(text: str | int) -> None:
    with pytest.raises(InvalidArgument, match="is not a signal"):
        parse_signal(text)


def test_every_signal_has_a_name_that_parses() -> None:
    for number in range(1, 65):
        if number in {32, 33}:  # the C library's own
            continue
        assert parse_signal(signal_name(number)) == number
    assert signal_name(signal.SIGKILL) == "SIGKILL"


@pytest.mark.parametrize("text", ["NET_ADMIN", "net_admin", "CAP_NET_ADMIN", "cap_net_admin"])
def test_capabilities_have_several_spellings(text: str) -> None:
    assert capability.parse_capability(text) == "NET_ADMIN"


def test_an_unknown_capability_gets_a_hint() -> None:
    with pytest.raises(InvalidArgument) as caught:
        capability.parse_capability("NET_ADMON")
    assert "NET_ADMIN" in caught.value.hint


def test_the_rules_of_capabilities() -> None:
    everything = capability.ALL_MASK
    defaults = capability.mask_of(capability.DEFAULTS)

    def mask(
        add: list[str], drop: list[str], *, privileged: bool = False, available: int = everything
    ) -> int:
        return capability.container_mask(add, drop, is_privileged=privileged, available=available)

    assert len(capability.DEFAULTS) == 14
    assert mask([], []) == defaults == 0xA80425FB
    assert mask([], ["ALL"]) == 0
    assert mask(["CHOWN"], ["ALL"]) == 1
    assert mask(["ALL"], ["CHOWN"]) == everything & ~1
    assert mask(["NET_ADMIN"], ["CHOWN"]) == (defaults & ~1) | 1 << 12
    assert mask([], [], privileged=True) == everything
    without = everything & ~(1 << 24) & ~1
    assert mask([], [], available=without) == defaults & ~1, "a default that is lacking is left out"
    assert mask([], [], privileged=True, available=without) == without
    with pytest.raises(InvalidArgument, match="SYS_RESOURCE"):
        mask(["SYS_RESOURCE"], [], available=without)


def test_resource_limits() -> None:
    assert Ulimit.parse("nofile=1024") == Ulimit("nofile", 1024, 1024)
    assert Ulimit.parse("nofile=1024:2048") == Ulimit("nofile", 1024, 2048)
    assert Ulimit.parse("core=-1") == Ulimit("core", UNLIMITED, UNLIMITED)
    assert Ulimit.of("nproc", 5) == Ulimit("nproc", 5, 5)


@pytest.mark.parametrize(
    "text", ["nofile", "nofile=", "files=1", "nofile=2:1", "nofile=1:2:3", "nofile=-2", "=1"]
)
def test_wrong_resource_limits_are_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        Ulimit.parse(text)


# --- variables ------------------------------------------------------------------------------------------


def test_variables_come_from_outside_by_name() -> None:
    assert environment.parse_env(["A=1", "B", "C"], {"B": "2"}) == ("A=1", "B=2", "C")
    assert environment.env_of_mapping({"A": "1", "B": None}) == ("A=1", "B")


def test_later_variables_win_and_a_mere_name_removes() -> None:
    assert environment.merge_env(["A=1", "B=2"], ["A=3", "C=4"], ["B"]) == ["A=3", "C=4"]


def test_a_file_of_variables() -> None:
    text = "\ufeff# comment\n\n  A=1 # kept\nB\nC=a=b\n"
    assert environment.parse_file(text, "x") == ("A=1 # kept", "B", "C=a=b")
    for line in ("A B=1", "=1"):
        with pytest.raises(InvalidArgument, match="line 1 of `x`"):
            environment.parse_file(line, "x")


@given(st.lists(st.tuples(st.sampled_from("ABC"), st.text("xyz=", max_size=3))))
def test_merging_keeps_the_last_value_of_each_name(pairs: list[tuple[str, str]]) -> None:
    merged = environment.merge_env([f"{name}={value}" for name, value in pairs])
    assert dict(entry.split("=", 1) for entry in merged) == dict(pairs)


# --- namespaces and security ----------------------------------------------------------------------------


def test_networks_that_do_not_exist_yet_are_refused_by_name() -> None:
    assert namespace.parse_network("") == namespace.parse_network("none") == "none"
    assert namespace.parse_network("container:x") == "container:x"
    for name in ("bridge", "default", "mine", "container:"):
        with pytest.raises(UnsupportedOption) as caught:
            namespace.parse_network(name)
        assert caught.value.hint == "Use `none` or `host`."


def test_other_namespaces() -> None:
    assert namespace.parse_pid("") == "private"
    assert namespace.parse_ipc("shareable") == "shareable"
    assert namespace.parse_uts("host") == "host"
    for parse, text in (
        (namespace.parse_pid, "x"),
        (namespace.parse_uts, "container:x"),
        (namespace.parse_ipc, "y"),
    ):
        with pytest.raises(InvalidArgument):
            parse(text)


def test_security_options(tmp_path: Path) -> None:
    profile = tmp_path / "profile.json"
    profile.write_text('{"defaultAction": "SCMP_ACT_ALLOW"}')
    parsed = parse_security_options([f"seccomp={profile}", "no-new-privileges", "apparmor=unconfined"])
    assert parsed.seccomp == '{"defaultAction":"SCMP_ACT_ALLOW"}'
    assert parsed.no_new_privileges
    assert parse_security_options(["seccomp:unconfined"]).seccomp == "unconfined"
    assert parse_security_options(["seccomp=builtin"]).seccomp == "default"
    assert not parse_security_options(["no-new-privileges:false"]).no_new_privileges
    assert parse_security_options(["systempaths=unconfined"]).shows_system_paths


@pytest.mark.parametrize("option", ["apparmor=mine", "label=type:x", "writable-cgroups=true"])
def test_other_security_options_are_refused_by_name(option: str) -> None:
    with pytest.raises(UnsupportedOption):
        parse_security_options([option])


@pytest.mark.parametrize("option", ["seccomp", "seccomp=/nowhere", "nothing", "no-new-privileges=perhaps"])
def test_wrong_security_options_are_refused(option: str) -> None:
    with pytest.raises(InvalidArgument):
        parse_security_options([option])


def test_a_profile_must_be_a_json_object(tmp_path: Path) -> None:
    for content in (b"{", b"[]", b"\xff"):
        file = tmp_path / "profile"
        file.write_bytes(content)
        with pytest.raises(InvalidArgument, match="profile"):
            parse_security_options([f"seccomp={file}"])
