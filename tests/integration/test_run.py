"""`Engine.run` on the real kernel: results, streams, limits, isolation, and what is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest
from tests.support.state import has_no_folders

from pyrust_ctr.errors import ProcessFailed

if TYPE_CHECKING:
    from pathlib import Path

    from pyrust_ctr import Engine

pytestmark = pytest.mark.root


def shell(engine: Engine, image: str, script: str, **options: object) -> str:
    result = engine.run(image, ["sh", "-c", script], **options)  # type: ignore[arg-type]
    assert result.exit_code == 0, result
    return result.stdout.decode()


# --- results --------------------------------------------------------------------------------------------


def test_exit_code_and_both_streams(engine: Engine, busybox: str) -> None:
    result = engine.run(busybox, ["sh", "-c", "echo out; echo err >&2; exit 3"])
    assert (result.exit_code, result.stdout, result.stderr) == (3, b"out\n", b"err\n")
    assert 0 < result.duration_s < 30
    assert result.signal is None
    assert not result.timed_out
    assert not result.oom_killed
    assert has_no_folders(engine)


def test_input_reaches_the_program_whole(engine: Engine, busybox: str) -> None:
    data = os.urandom(3_000_000)
    assert engine.run(busybox, ["cat"], input=data).stdout == data
    assert engine.run(busybox, ["cat"], input=b"").stdout == b""
    assert engine.run(busybox, ["cat"]).stdout == b"", "without input it is at its end"
    assert engine.run(busybox, ["true"], input=data).exit_code == 0, "a program may leave input unread"


def test_much_output_on_both_streams(engine: Engine, busybox: str) -> None:
    script = (
        "i=0; while [ $i -lt 200 ]; do head -c 10000 /dev/zero; head -c 10000 /dev/zero >&2; i=$((i+1)); done"
    )
    result = engine.run(busybox, ["sh", "-c", script])
    assert (len(result.stdout), len(result.stderr)) == (2_000_000, 2_000_000)


def test_a_signal_is_told(engine: Engine, busybox: str) -> None:
    result = engine.run(busybox, ["sh", "-c", "kill -9 $$"], init=True)
    assert result.exit_code == 137
    result = engine.run(busybox, ["sleep", "60"], timeout=0.1)
    assert result.signal == signal.SIGKILL


def test_a_timeout_kills_everything(engine: Engine, busybox: str) -> None:
    began = time.monotonic()
    result = engine.run(busybox, ["sh", "-c", "echo begun; sleep 60 & sleep 60"], timeout=0.5)
    assert 0.4 < time.monotonic() - began < 10
    assert result.timed_out
    assert result.exit_code == 137
    assert result.stdout == b"begun\n"
    with pytest.raises(ProcessFailed, match="time was over"):
        engine.run(busybox, ["sleep", "60"], timeout=0.2, check=True)


def test_a_memory_limit_holds_and_is_told(engine: Engine, busybox: str) -> None:
    result = engine.run(busybox, ["sh", "-c", "head -c 200m /dev/zero | tail"], memory="32m")
    assert result.oom_killed
    assert result.exit_code != 0
    assert result.peak_memory_bytes is not None
    assert result.peak_memory_bytes <= 32 << 20
    assert not engine.run(busybox, ["true"], memory="32m").oom_killed


def test_a_limit_of_processes_holds(engine: Engine, busybox: str) -> None:
    script = "i=0; while [ $i -lt 30 ]; do sleep 5 & i=$((i+1)); done; wait"
    result = engine.run(busybox, ["sh", "-c", script], pids_limit=10, timeout=30)
    assert b"fork" in result.stderr


def test_a_limit_of_cpu_holds(engine: Engine, busybox: str) -> None:
    result = engine.run(busybox, ["sh", "-c", "while :; do :; done"], cpus=0.2, timeout=1.5)
    assert result.timed_out
    assert result.cpu_s is not None
    assert result.cpu_s < 0.9, "a fifth of a CPU for a second and a half, and a start"


def test_resource_limits_hold(engine: Engine, busybox: str) -> None:
    assert shell(engine, busybox, "ulimit -n; ulimit -Hn", ulimits={"nofile": (100, 200)}) == "100\n200\n"


# --- what the program sees ------------------------------------------------------------------------------


def test_environment_user_and_directory(engine: Engine, busybox: str) -> None:
    script = "echo $A $HOSTNAME $HOME; pwd; id -u; id -g"
    shown = shell(engine, busybox, script, env={"A": "1"}, hostname="box", user="7:8", workdir="/made/here")
    assert shown == "1 box /\n/made/here\n7\n8\n"


def test_it_is_alone(engine: Engine, busybox: str) -> None:
    assert shell(engine, busybox, "echo $$; hostname", hostname="alone") == "1\nalone\n"
    assert shell(engine, busybox, "ls /proc | grep -c '^[0-9]'").strip() in {"2", "3", "4"}
    interfaces = shell(engine, busybox, "ls /sys/class/net").split()
    assert interfaces == ["lo"]
    # `ls` itself has the descriptor of the folder.
    assert shell(engine, busybox, "ls /proc/self/fd").split() == ["0", "1", "2", "3"]


def test_the_host_cannot_be_reached(engine: Engine, busybox: str) -> None:
    refused = (
        "mount -t tmpfs x /mnt",
        "echo 1 > /proc/sys/kernel/panic",
        "echo c > /proc/sysrq-trigger",
        "mknod /x b 8 0 && head -c 1 /x",
        "mkdir /sys/fs/cgroup/x",
        "unshare -r true",
        "chroot . mount -t proc p /proc",
    )
    for script in refused:
        result = engine.run(busybox, ["sh", "-c", f"{script} && echo done"])
        assert b"done" not in result.stdout, script


def test_capabilities(engine: Engine, busybox: str) -> None:
    def effective(**options: object) -> int:
        line = shell(engine, busybox, "grep CapEff /proc/self/status", **options)
        return int(line.split()[1], 16)

    assert effective() == 0xA80425FB
    assert effective(cap_drop=["ALL"]) == 0
    assert effective(cap_drop=["ALL"], cap_add=["CHOWN"]) == 1
    assert effective(cap_add=["NET_ADMIN"]) == 0xA80425FB | 1 << 12
    assert effective(privileged=True) > 0xA80425FB
    assert effective(user="5") == 0


def test_no_new_privileges(engine: Engine, busybox: str) -> None:
    script = "grep NoNewPrivs /proc/self/status"
    assert shell(engine, busybox, script).split()[1] == "0"
    assert shell(engine, busybox, script, security_opt=["no-new-privileges"]).split()[1] == "1"


def test_a_seccomp_profile_of_ones_own(engine: Engine, busybox: str) -> None:
    rule = '{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO"}'
    profile = f'{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{rule}]}}'
    script = "mkdir /x 2>&1 || echo refused"
    assert "refused" in shell(engine, busybox, script, security_opt=[f"seccomp={profile}"])
    assert shell(engine, busybox, "grep Seccomp: /proc/self/status").split()[1] == "2"
    unfiltered = shell(
        engine, busybox, "grep Seccomp: /proc/self/status", security_opt=["seccomp=unconfined"]
    )
    assert unfiltered.split()[1] == "0"


# --- mounts ---------------------------------------------------------------------------------------------


def test_bind_mounts(engine: Engine, busybox: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("content\n")
    shown = shell(engine, busybox, "cat /data/file; echo new > /data/made", volumes=[f"{tmp_path}:/data"])
    assert shown == "content\n"
    assert (tmp_path / "made").read_text() == "new\n"
    result = engine.run(busybox, ["touch", "/data/x"], volumes=[f"{tmp_path}:/data:ro"])
    assert b"Read-only file system" in result.stderr
    shown = shell(engine, busybox, "cat /deep/f", mounts=[f"type=bind,src={tmp_path}/file,dst=/deep/f,ro"])
    assert shown == "content\n"


def test_tmpfs_and_a_read_only_root(engine: Engine, busybox: str) -> None:
    shown = shell(engine, busybox, "echo x > /t/x && cat /t/x; df -k /t | tail -1", tmpfs={"/t": "size=1m"})
    assert shown.startswith("x\n")
    assert " 1024 " in shown
    result = engine.run(busybox, ["touch", "/x"], read_only=True)
    assert b"Read-only file system" in result.stderr
    assert shell(engine, busybox, "echo y > /t/y && cat /t/y", read_only=True, tmpfs=["/t"]) == "y\n"


def test_nothing_is_kept_from_one_run_to_the_next(engine: Engine, busybox: str) -> None:
    shell(engine, busybox, "echo x > /etc/marker")
    assert shell(engine, busybox, "ls /etc/marker 2>/dev/null || echo none") == "none\n"


# --- namespaces of others -------------------------------------------------------------------------------


def test_the_namespaces_of_the_host(engine: Engine, busybox: str) -> None:
    own = {name: os.readlink(f"/proc/self/ns/{name}") for name in ("net", "uts", "ipc", "pid")}
    script = "for name in net uts ipc pid; do readlink /proc/self/ns/$name; done"
    private = shell(engine, busybox, script).split()
    assert set(private).isdisjoint(own.values())
    shared = shell(engine, busybox, script, network="host", uts="host", ipc="host", pid="host").split()
    assert shared == [own["net"], own["uts"], own["ipc"], own["pid"]]


def test_the_namespaces_of_another_container(engine: Engine, busybox: str) -> None:
    other = engine.containers.create(busybox, ["sleep", "60"], name="other", ipc="shareable")
    other.start()
    script = "readlink /proc/1/ns/net; readlink /proc/1/ns/pid"
    there = other.exec(["sh", "-c", script]).stdout
    joined = engine.run(
        busybox,
        ["sh", "-c", "readlink /proc/self/ns/net; readlink /proc/self/ns/pid"],
        network="container:other",
        pid="container:other",
    )
    assert joined.stdout == there
    other.remove(force=True)


# --- the images that need no network --------------------------------------------------------------------


def test_hello_world(engine: Engine) -> None:
    result = engine.run("hello-world")
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) > 1


def test_the_host_image(engine: Engine, tmp_path: Path) -> None:
    script = f"ls {engine.root} /tmp /run; echo x > /etc/marker && cat /etc/marker; pwd"
    result = engine.run("host", ["sh", "-c", script])
    assert result.exit_code == 0, result
    lines = result.stdout.decode().split()
    assert lines[-2:] == ["x", "/"]
    assert "state.db" not in lines
    assert not os.path.exists("/etc/marker")
    assert str(tmp_path) not in result.stdout.decode()


# --- many, and interrupted ones -------------------------------------------------------------------------


def test_many_threads(engine: Engine, busybox: str) -> None:
    codes: list[int] = []

    def work(number: int) -> None:
        codes.extend(engine.run(busybox, ["sh", "-c", f"exit {number}"]).exit_code for _ in range(5))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(codes) == sorted(list(range(8)) * 5)
    assert engine.containers.list(all=True) == []


def test_ctrl_c_kills_the_container(engine: Engine, busybox: str) -> None:
    script = (
        "import sys, pyrust_ctr\n"
        "engine = pyrust_ctr.Engine(sys.argv[1])\n"
        "print('ready', flush=True)\n"
        "engine.run(sys.argv[2], ['sleep', '60'])\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, engine.root, busybox],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    deadline = time.monotonic() + 20
    while not [state for _, state in engine.containers.list_with_state() if state.is_running]:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=20)
    assert b"KeyboardInterrupt" in stderr
    assert engine.containers.list(all=True) == []
    assert has_no_folders(engine)


def test_a_cancelled_run(engine: Engine, busybox: str) -> None:
    from pyrust_ctr.errors import Cancelled

    run = engine.containers.prepare_run(busybox, ["sleep", "60"])
    timer = threading.Timer(0.3, run.cancel)
    timer.start()
    with pytest.raises(Cancelled):
        run.execute()
    timer.join()
    assert engine.containers.list(all=True) == []
