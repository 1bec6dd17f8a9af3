"""Who a process runs as: never root by mistake, and never by a file of the machine.

CVE-2026-30892, CVE-2024-40635, CVE-2022-36109.
"""

from __future__ import annotations

import tarfile
from typing import TYPE_CHECKING

import pytest
from tests.security.attacks import attack_image, link
from tests.support.layers import entry

from pyrust_ctr.errors import Error

if TYPE_CHECKING:
    from pathlib import Path

    from pyrust_ctr import Container, Engine

pytestmark = pytest.mark.root

# Not `id`, which looks names up itself.
SHOW = ["awk", '/^(Uid|Gid):/ { print $3 } /^Groups:/ { $1 = ""; print }', "/proc/self/status"]
MALFORMED = [
    "0x0",
    "+1",
    "1:",
    ":1",
    ":",
    "::",
    "0:0:0",
    "4294967296",
    "4294967296:0",
    "2147483648",
    "2147483648:0",
    "4294967295",
    "18446744073709551616",
    "0:4294967296",
    "0:4294967295",
    "-1",
    "1:-1",
    " 1",
    "1 ",
    "1 1",
    "\t0",
    "0\n",
    "\u0661",
    "\uff10",
    "1e3",
    "0b1",
    "nobody\n",
    "../root",
    "root ",
    "nosuch",
    "app:nosuch",
]


@pytest.fixture
def container(engine: Engine, busybox: str) -> Container:
    made = engine.containers.create(busybox, ["sleep", "120"])
    made.start()
    return made


def test_malformed_users_of_a_run_and_of_an_exec(engine: Engine, busybox: str, container: Container) -> None:
    for user in MALFORMED:
        with pytest.raises(Error) as refusal:
            engine.run(busybox, SHOW, user=user)
        assert "\n" not in refusal.value.message, user
        with pytest.raises(Error):
            container.exec(SHOW, user=user)
    with pytest.raises(Error):
        engine.run(busybox, SHOW, user="1\0")


def test_malformed_users_of_an_image(engine: Engine) -> None:
    for number, user in enumerate(MALFORMED):
        image = attack_image(engine, config={"User": user}, name=f"attack:{number}")
        with pytest.raises(Error):
            engine.run(image, SHOW)


def test_numbers_are_what_they_say(engine: Engine, busybox: str, container: Container) -> None:
    expected = {
        "": "0 0 0",
        "0": "0 0 0",
        "1": "1 0 0",
        "00001": "1 0 0",
        "1:2": "1 2 2",
        "2147483647:2147483647": "2147483647 2147483647 2147483647",
        "app": "1000 1001 1001 2000",
        "1000": "1000 1001 1001 2000",
        "app:0": "1000 0 0",
    }
    for user, ids in expected.items():
        for shown in (engine.run(busybox, SHOW, user=user).stdout, container.exec(SHOW, user=user).stdout):
            assert sorted(shown.split()) == sorted(ids.encode().split()), user


def test_names_that_look_like_numbers(engine: Engine) -> None:
    """A line `1000:x:0:0` must not make the user 1000 root."""
    passwd = b"1000:x:0:0::/:/bin/sh\n-1:x:0:0::/:/bin/sh\n:x:0:0::/:/bin/sh\n"
    passwd += b"big:x:4294967296:0::/:/bin/sh\nminus:x:-1:0::/:/bin/sh\nempty:x:::::\n"
    group = b"1000:x:0:\nbig:x:4294967296:\n"
    image = attack_image(engine, [entry("etc/passwd", passwd), entry("etc/group", group)])
    assert engine.run(image, SHOW, user="1000:1000").stdout == b"1000\n1000\n 1000\n"
    assert engine.run(image, SHOW, user="1000").stdout == b"1000\n0\n 0\n"
    for user in ("-1", "big", "minus", "empty", "5:big"):
        with pytest.raises(Error):
            engine.run(image, SHOW, user=user)


def test_user_files_of_any_kind(engine: Engine, canary: Path) -> None:
    """Neither held up, nor misled, nor made to read a file of the machine."""
    (canary / "passwd").write_text("evil:x:0:0::/:/bin/sh\n")
    up = "../" * 30
    stacks = [
        [entry("etc/passwd", kind=tarfile.FIFOTYPE)],
        [entry("etc/passwd/")],
        [entry("etc/passwd", kind=tarfile.CHRTYPE, device=(1, 5))],
        [entry("etc/passwd", kind=tarfile.CHRTYPE, device=(5, 0))],
        [entry("etc/passwd", b"evil:x:0:0::/:/bin/sh\n" * 100_000)],
        [entry("etc/passwd", b"\0" * 1000 + b"\nevil\0:x:0:0\n\xff\xfe:x:0:0::\n")],
        [link("etc/passwd", f"{canary}/passwd")],
        [link("etc/passwd", f"{up}{canary}/passwd")],
        [link("etc/passwd", "/proc/self/fd/5")],
        [link("etc/passwd", "/proc/1/environ")],
        [link("etc/passwd", "/dev/zero")],
        [link("etc/passwd", "/dev/stdin")],
        [link("etc/passwd", "passwd")],
        [link("etc/passwd", "/proc/1/root/etc/passwd")],
        [link("etc", str(canary))],
    ]
    for number, members in enumerate(stacks):
        image = attack_image(engine, members, name=f"attack:{number}")
        for user in ("evil", "root", "daemon", "app"):
            with pytest.raises(Error) as refusal:
                engine.run(image, SHOW, user=user, timeout=20)
            assert "\n" not in refusal.value.message
        try:
            assert engine.run(image, SHOW, user="7:8", timeout=20).stdout == b"7\n8\n 8\n"
        except Error as refusal:
            assert members[0][0].name == "etc", refusal
    (canary / "passwd").unlink()


def test_user_files_that_the_container_changes(container: Container) -> None:
    """An exec reads them anew: the container may have put anything there."""
    changes = [
        "rm /etc/passwd; mkfifo /etc/passwd",
        "rm -r /etc/passwd; ln -s /proc/self/fd/9 /etc/passwd",
        "rm -r /etc/passwd; ln -s /proc/1/root/etc/passwd /etc/passwd",
        "rm -r /etc/passwd; mkdir /etc/passwd",
        "rm -r /etc/passwd; ln -s /dev/zero /etc/passwd",
        "mv /etc /etc-was; ln -s /proc/self/root/etc-was /etc",
    ]
    for change in changes:
        container.exec(["sh", "-c", change], check=True)
        with pytest.raises(Error):
            container.exec(SHOW, user="daemon", timeout=20)
        assert container.exec(SHOW, user="3:4", timeout=20).stdout == b"3\n4\n 4\n", change


def test_programs_are_the_containers(container: Container) -> None:
    """`PATH` is looked through inside; nothing of the machine is found or run."""
    container.exec(
        ["sh", "-c", "mkdir /evil; printf '#!/bin/sh\\necho mine\\n' > /evil/true; chmod +x /evil/true"]
    )
    shown = container.exec(["true"], env={"PATH": "/evil:/bin"}).stdout
    assert shown == b"mine\n"
    for path in ("/proc/1/root/usr/bin", "/proc/self/fd/7", "", ".", "/nowhere"):
        with pytest.raises(Error):
            container.exec(["python3"], env={"PATH": path})
    with pytest.raises(Error):
        container.exec(["../../../../../../usr/bin/python3"])
