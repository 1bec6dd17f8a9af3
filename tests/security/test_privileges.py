"""What a container may do: capabilities, devices, control groups, and files of the kernel."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.security.attacks import attack_image, inside
from tests.support.layers import BUSYBOX, entry

if TYPE_CHECKING:
    from pyrust_ctr import Engine

pytestmark = pytest.mark.root

DEFAULT = 0xA80425FB
SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")


def _sets(engine: Engine, image: str, **options: Any) -> dict[str, int]:
    shown = engine.run(image, ["grep", "^Cap", "/proc/self/status"], **options).stdout.decode()
    sets = {name: int(value, 16) for name, value in (line.split(":\t") for line in shown.splitlines())}
    assert sets.keys() == set(SETS)
    return sets


def test_capability_sets_of_root_and_of_others(engine: Engine, busybox: str) -> None:
    nothing = {"CapInh": 0, "CapAmb": 0}
    assert _sets(engine, busybox) == {"CapPrm": DEFAULT, "CapEff": DEFAULT, "CapBnd": DEFAULT, **nothing}
    assert _sets(engine, busybox, user="65534") == {"CapPrm": 0, "CapEff": 0, "CapBnd": DEFAULT, **nothing}
    # Capabilities that are added are root's too, and no one else's (CVE-2022-24769).
    added = _sets(engine, busybox, user="65534", cap_add=["NET_ADMIN"])
    assert added == {"CapPrm": 0, "CapEff": 0, "CapBnd": DEFAULT | 1 << 12, **nothing}
    assert _sets(engine, busybox, cap_drop=["ALL"]) == dict.fromkeys(SETS, 0)
    assert _sets(engine, busybox, init=True)["CapEff"] == DEFAULT


def test_init_itself_has_no_more_than_the_program(engine: Engine, busybox: str) -> None:
    script = "grep -E '^(Cap|Seccomp:|NoNewPrivs|Uid|Gid)' /proc/1/status /proc/self/status"
    shown = engine.run(busybox, ["sh", "-c", script], init=True, user="5:6").stdout.decode()
    one = [line.partition(":")[2] for line in shown.splitlines() if line.startswith("/proc/1/")]
    own = [line.partition(":")[2] for line in shown.splitlines() if line.startswith("/proc/self/")]
    assert one
    assert one == own


def test_set_user_id_programs(engine: Engine) -> None:
    """Docker's way: they work, within the bounding set; with `no-new-privileges` they do not."""
    members = [entry("bin/su", BUSYBOX.read_bytes(), mode=0o4755), entry("etc/shadow", b"root::1::::::\n")]
    members.append(entry("etc/passwd", b"root::0:0:root:/root:/bin/sh\n"))
    image = attack_image(engine, members)
    # `su` keeps the privileges of its file; a shell of busybox would drop them.
    command = ["/bin/su", "-c", "grep -E '^(Uid|CapEff|CapBnd)' /proc/self/status"]
    loose = engine.run(image, command, user="1000").stdout.decode()
    assert "Uid:\t0\t0\t0\t0" in loose
    assert loose.count(f"{DEFAULT:016x}") == 2, "all of the bounding set, and no more"
    tight = engine.run(image, command, user="1000", security_opt=["no-new-privileges"])
    assert b"Uid:\t0" not in tight.stdout
    assert tight.exit_code != 0


def test_supplementary_groups_of_the_caller_are_gone(engine: Engine, busybox: str) -> None:
    assert engine.run(busybox, ["id", "-G"], user="1000:1001").stdout == b"1001\n"
    assert engine.run(busybox, ["id", "-G"]).stdout == b"0\n"


# --- devices ------------------------------------------------------------------------------------------------

DEVICES = """
import stat
def opened(kind, major, minor, flags=os.O_RDONLY):
    path = f'/mknod-{major}-{minor}'
    try:
        os.mknod(path, kind | 0o666, os.makedev(major, minor))
    except OSError as error:
        return 'mknod ' + errno.errorcode[error.errno]
    return attempt(lambda: os.close(os.open(path, flags | os.O_NONBLOCK)))
answer['disk'] = opened(stat.S_IFBLK, 8, 0)
answer['loop'] = opened(stat.S_IFBLK, 7, 0)
answer['virtio'] = opened(stat.S_IFBLK, 254, 0)
answer['kmsg'] = opened(stat.S_IFCHR, 1, 11)
answer['mem'] = opened(stat.S_IFCHR, 1, 1)
answer['port'] = opened(stat.S_IFCHR, 1, 4)
answer['fuse'] = opened(stat.S_IFCHR, 10, 229)
answer['tun'] = opened(stat.S_IFCHR, 10, 200)
answer['kvm'] = opened(stat.S_IFCHR, 10, 232)
answer['console of the machine'] = opened(stat.S_IFCHR, 4, 0)
answer['write'] = opened(stat.S_IFBLK, 8, 0, os.O_RDWR)
answer['null'] = opened(stat.S_IFCHR, 1, 3)
"""


def test_devices_can_be_made_and_not_opened(engine: Engine) -> None:
    answer = inside(engine, DEVICES)
    assert answer.pop("null") == "None", "the rules let through what every container has"
    # EEXIST: the same number a second time.
    assert set(answer.values()) <= {"EPERM", "mknod EPERM", "mknod EEXIST"}, answer
    # An exec is in the same control groups.


def test_devices_of_an_image_cannot_be_opened(engine: Engine) -> None:
    members = [
        entry("disk", kind=tarfile.BLKTYPE, mode=0o666, device=(8, 0)),
        entry("kmsg", kind=tarfile.CHRTYPE, mode=0o666, device=(1, 11)),
        entry("fuse", kind=tarfile.CHRTYPE, mode=0o666, device=(10, 229)),
        entry("dev/sda", kind=tarfile.BLKTYPE, mode=0o666, device=(8, 0)),
    ]
    image = attack_image(engine, members)
    script = "for file in /disk /kmsg /fuse; do head -c 1 $file 2>&1; done; ls /dev/sda"
    result = engine.run(image, ["sh", "-c", script])
    assert result.stdout.count(b"Operation not permitted") == 3, result
    assert b"No such file" in result.stderr


def test_devices_in_an_exec(engine: Engine, busybox: str) -> None:
    container = engine.containers.create(busybox, ["sleep", "60"])
    container.start()
    result = container.exec(["sh", "-c", "mknod /disk b 8 0; head -c 1 /disk"])
    assert b"Operation not permitted" in result.stderr
    assert result.exit_code != 0


# --- control groups -----------------------------------------------------------------------------------------


def test_control_groups_cannot_be_written(engine: Engine, busybox: str) -> None:
    script = (
        "find /sys/fs/cgroup -name release_agent -o -name notify_on_release -perm -200 | while read file; do "
        "  echo /x 2>/dev/null > $file && echo written $file; done; "
        "for file in $(find /sys/fs/cgroup -name 'devices.allow' -o -name cgroup.procs -o -name memory.max "
        "  -o -name memory.limit_in_bytes -o -name cgroup.subtree_control); do "
        "  echo a > $file && echo written $file; done 2>/dev/null; "
        "for folder in $(find /sys/fs/cgroup -type d); do mkdir $folder/evil && echo made $folder; done "
        "  2>/dev/null; "
        "find /sys/fs/cgroup -name release_agent; "
        "mount -o remount,rw /sys/fs/cgroup 2>/dev/null && echo remounted; "
        "mkdir /c; for kind in cgroup cgroup2; do mount -t $kind x /c 2>/dev/null && echo mounted; done; true"
    )
    result = engine.run(busybox, ["sh", "-c", script])
    assert (result.exit_code, result.stdout) == (0, b""), result


def test_the_container_sees_its_own_groups_only(engine: Engine, busybox: str) -> None:
    shown = engine.run(busybox, ["cat", "/proc/self/cgroup"]).stdout.decode()
    assert shown
    for line in shown.splitlines():
        assert line.rpartition(":")[2] == "/", "a cgroup namespace of its own"
    options = engine.run(busybox, ["cat", "/proc/mounts"]).stdout.decode()
    groups = [line.split() for line in options.splitlines() if "/sys/fs/cgroup" in line]
    assert groups
    for fields in groups:
        assert {"ro", "nosuid", "nodev", "noexec"} <= set(fields[3].split(",")), fields


# --- files of the kernel ------------------------------------------------------------------------------------


def test_hidden_paths(engine: Engine) -> None:
    from pyrust_ctr.containers.spec import MASKED_PATHS

    code = (
        f"for path in {MASKED_PATHS!r}:\n"
        "    if os.path.isdir(path): answer[path] = len(os.listdir(path))\n"
        "    elif os.path.exists(path): answer[path] = len(open(path, 'rb').read(100))\n"
    )
    answer = inside(engine, code)
    assert "/proc/keys" in answer or "/proc/timer_list" in answer
    assert set(answer.values()) == {0}, answer
    open_answer = inside(engine, code, privileged=True)
    assert set(open_answer.values()) != {0}, "the machine has something to hide"


WRITES = (
    "/proc/sys/kernel/core_pattern",
    "/proc/sys/kernel/modprobe",
    "/proc/sys/kernel/hostname",
    "/proc/sys/kernel/shmmax",
    "/proc/sys/vm/drop_caches",
    "/proc/sys/net/ipv4/ip_forward",
    "/proc/sys/fs/binfmt_misc/register",
    "/proc/sysrq-trigger",
    "/proc/irq/default_smp_affinity",
    "/proc/kcore",
    "/proc/keys",
    "/sys/kernel/uevent_helper",
    "/sys/kernel/mm/transparent_hugepage/enabled",
    "/sys/power/state",
    "/sys/fs/cgroup/devices/devices.allow",
    "/proc/1/oom_score_adj\0",
)


def test_kernel_files_cannot_be_written(engine: Engine) -> None:
    kept = {path: _content(path) for path in WRITES[:6]}
    paths = [path for path in WRITES if "\0" not in path]
    # Opened without writing: a sysrq that got through would be the end of the test machine.
    code = (
        f"for path in {paths!r}:\n"
        "    answer[path] = attempt(lambda: os.open(path, os.O_WRONLY))\n"
        "answer['made'] = attempt(lambda: os.mkdir('/proc/sys/x'))\n"
    )
    answer = inside(engine, code)
    for masked in ("/proc/kcore", "/proc/keys"):
        answer.pop(masked)  # /dev/null lies there, which may be written
    assert set(answer.values()) <= {"EROFS", "ENOENT", "EACCES", "EPERM"}, answer
    assert {path: _content(path) for path in WRITES[:6]} == kept


def _content(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError as error:
        return str(error.errno)


def test_mount_flags_of_the_system(engine: Engine, busybox: str) -> None:
    shown = engine.run(busybox, ["cat", "/proc/mounts"]).stdout.decode()
    flags = {line.split()[1]: set(line.split()[3].split(",")) for line in shown.splitlines()}
    inert = {"nosuid", "nodev", "noexec"}
    assert inert <= flags["/proc"]
    assert inert | {"ro"} <= flags["/sys"]
    assert {"nosuid"} <= flags["/dev"]
    assert {"nosuid", "noexec"} <= flags["/dev/pts"]
    assert inert <= flags["/dev/shm"]
    assert inert <= flags["/dev/mqueue"]
    assert inert | {"ro"} <= flags["/proc/sys"]
    for path in flags:
        assert not path.startswith("/host"), "nothing of the machine's tree is left mounted"


# --- privileged ---------------------------------------------------------------------------------------------


def test_privileged_differs_only_where_it_should(engine: Engine, busybox: str) -> None:
    script = "echo $$; ls /proc | grep -c '^[0-9]'; ls /sys/class/net; cat /etc/hostname; hostname"
    plain, privileged = (
        engine.run(busybox, ["sh", "-c", script], privileged=is_privileged, hostname="box").stdout
        for is_privileged in (False, True)
    )
    assert privileged == plain, "namespaces and files of its own all the same"
    sets = _sets(engine, busybox, privileged=True)
    assert (sets["CapInh"], sets["CapAmb"]) == (0, 0)
    assert sets["CapEff"] > DEFAULT
    fds = engine.run(busybox, ["ls", "/proc/self/fd"], privileged=True).stdout.split()
    assert fds == [b"0", b"1", b"2", b"3"]
    shown = engine.run(busybox, ["sh", "-c", "ls /dev/console /dev/pts /dev/ptmx"], privileged=True).stdout
    assert b"/dev/ptmx" in shown
