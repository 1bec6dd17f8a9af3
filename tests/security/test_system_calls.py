"""System calls that lead out of a container, in both of a 64-bit processor's instruction sets."""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING

import pytest
from tests.security.attacks import INTERPRETER, PRELUDE, inside, need_x86_64

if TYPE_CHECKING:
    from pathlib import Path

    from pyrust_ctr import Engine

pytestmark = pytest.mark.root

EPERM, ENOSYS, EAFNOSUPPORT = 1, 38, 97
AF_INET, AF_ALG, AF_VSOCK, SOCK_STREAM, SOCK_SEQPACKET = 2, 38, 40, 1, 5
CLONE_NEWUSER = 0x10000000

# With arguments that would otherwise give another error than EPERM wherever the call needs no capability.
REFUSED = {
    "mount": (165, b"none", b"/mnt", b"tmpfs", 0, 0),
    "umount2": (166, b"/proc", 0),
    "pivot_root": (155, b"/", b"/"),
    "fsopen": (430, b"tmpfs", 0),
    "fsconfig": (431, -1, 0, 0, 0, 0),
    "fsmount": (432, -1, 0, 0),
    "open_tree": (428, -100, b"/", 1),
    "move_mount": (429, -100, b"/", -100, b"/mnt", 0),
    "mount_setattr": (442, -100, b"/", 0, 0, 0),
    "unshare-user": (272, CLONE_NEWUSER),
    "unshare-mount": (272, 0x00020000),
    "unshare-cgroup": (272, 0x02000000),
    "clone-user": (56, CLONE_NEWUSER | 17, 0, 0, 0, 0),
    "setns": (308, -1, 0),
    "keyctl": (250, 0, -3, 0),
    "add_key": (248, 0, 0, 0, 0, 0),
    "request_key": (249, 0, 0, 0, 0),
    "io_uring_setup": (425, 0, 0),
    "io_uring_enter": (426, -1, 0, 0, 0, 0),
    "io_uring_register": (427, -1, 0, 0, 0),
    "bpf": (321, 0, 0, 0),
    "perf_event_open": (298, 0, 0, -1, -1, 0),
    "userfaultfd": (323, 1),
    "open_by_handle_at": (304, -1, 0, 0),
    "kexec_load": (246, 0, 0, 0, 0),
    "kexec_file_load": (320, -1, -1, 0, 0, 0),
    "init_module": (175, 0, 0, 0),
    "finit_module": (313, -1, 0, 0),
    "delete_module": (176, 0, 0),
    "syslog": (103, 3, 0, 0),
    "swapon": (167, 0, 0),
    "reboot": (169, 0, 0, 0, 0),
    "iopl": (172, 3),
    "ioperm": (173, 0, 1, 1),
    "quotactl": (179, 0, 0, 0, 0),
    "acct": (163, 0),
    "settimeofday": (164, 0, 0),
    "clock_settime": (227, 0, 0),
    "mbind": (237, 0, 0, 0, 0, 0, 0),
    "pidfd_getfd": (438, -1, 0, 0),
    "process_madvise": (440, -1, 0, 0, 0, 0),
    "vhangup": (153,),
    "personality": (135, 0x0040000),
    "socket-alg": (41, AF_ALG, SOCK_SEQPACKET, 0),
    "socket-vsock": (41, AF_VSOCK, SOCK_STREAM, 0),
}


def _calls(engine: Engine, calls: dict[str, tuple[int | bytes, ...]], **options: object) -> dict[str, str]:
    code = f"for name, words in {calls!r}.items():\n    answer[name] = call(*words)"
    return inside(engine, code, **options)


def test_refused(engine: Engine) -> None:
    need_x86_64()
    answers = _calls(engine, REFUSED)
    assert {name: answer for name, answer in answers.items() if answer != "EPERM"} == {}
    # The C library falls back to `clone`, whose flags the filter can see.
    assert _calls(engine, {"clone3": (435, 0, 0)}) == {"clone3": "ENOSYS"}


def test_refused_in_an_exec_and_to_other_users(engine: Engine) -> None:
    need_x86_64()
    calls = f"{REFUSED!r}.items()"
    script = f"os.setgroups([]); os.setgid(65534); os.setuid(65534)\nfor name, words in {calls}:\n"
    answers = inside(engine, script + "    answer[name] = call(*words)")
    assert {name: answer for name, answer in answers.items() if answer != "EPERM"} == {}
    container = engine.containers.create("host", ["sleep", "60"])
    container.start()
    script = f"for name, words in {calls}:\n    answer[name] = call(*words)\n"
    script += "print({name for name, result in answer.items() if result != 'EPERM'} or 'none')"
    result = container.exec([INTERPRETER, "-I", "-S", "-c", PRELUDE + script])
    assert result.stdout == b"none\n", result


def test_the_filter_and_not_luck_refuses(engine: Engine) -> None:
    """Without the filter the same calls end otherwise: the test above would notice if it were gone."""
    need_x86_64()
    bare = _calls(engine, REFUSED, security_opt=["seccomp=unconfined"])
    for name in ("add_key", "userfaultfd", "personality"):
        assert bare[name] != "EPERM", name


def test_tracing_needs_a_process_of_the_container(engine: Engine) -> None:
    need_x86_64()
    # PTRACE_ATTACH and process_vm_readv on a process of the machine: its number means nothing in here.
    code = f"answer['attach'] = call(101, 16, {os.getpid()}, 0, 0)\n"
    code += f"answer['kill'] = call(62, {os.getpid()}, 0)\n"
    assert inside(engine, code) == {"attach": "ESRCH", "kill": "ESRCH"}


def test_the_third_instruction_set_is_closed(engine: Engine) -> None:
    """x32: the numbers of x86-64 with one more bit; a filter that compares numbers alone lets them pass."""
    need_x86_64()
    x32 = 0x40000000
    calls = {name: (x32 | int(words[0]), *words[1:]) for name, words in REFUSED.items()}
    answers = _calls(engine, calls)
    assert set(answers.values()) <= {"EPERM", "ENOSYS"}, answers


# --- 32 bits ------------------------------------------------------------------------------------------------

BASE = 0x08048000
HEADERS = 84


def _i386_program(number: int, *arguments: int, data: bytes = b"") -> bytes:
    """A static 32-bit program: one call by `int 0x80`; its exit status is the error number, 0 for success.

    Arguments of -1 stand for the address of `data`.
    """
    opcodes = (0xBB, 0xB9, 0xBA, 0xBE, 0xBF)  # mov ebx, ecx, edx, esi, edi
    # Exits with -eax when that is an error (above -4096), else with 0.
    tail = bytes.fromhex("cd80 31db 3d01f0ffff 7204 f7d8 89c3 b801000000 cd80".replace(" ", ""))
    size = 5 * (1 + len(arguments)) + len(tail)
    code = struct.pack("<BI", 0xB8, number)
    for opcode, argument in zip(opcodes, arguments, strict=False):
        code += struct.pack("<BI", opcode, BASE + HEADERS + size if argument == -1 else argument)
    image = code + tail + data
    total = HEADERS + len(image)
    header = b"\x7fELF\x01\x01\x01" + bytes(9)
    header += struct.pack("<HHIIIIIHHHHHH", 2, 3, 1, BASE + HEADERS, 52, 0, 0, 52, 32, 1, 0, 0, 0)
    header += struct.pack("<IIIIIIII", 1, 0, BASE, BASE, total, total, 7, 0x1000)
    return header + image


@pytest.fixture
def run_i386(engine: Engine, tmp_path: Path) -> object:
    """Runs one 32-bit system call in a container; returns its error number."""
    need_x86_64()
    folder = tmp_path / "i386"
    folder.mkdir()

    def run(number: int, *arguments: int, data: bytes = b"", **options: object) -> int:
        program = folder / "program"
        program.write_bytes(_i386_program(number, *arguments, data=data))
        program.chmod(0o755)
        result = engine.run("host", ["/i386/program"], volumes=[f"{folder}:/i386:ro"], **options)  # type: ignore[arg-type]
        return result.exit_code

    from pyrust_ctr.errors import CommandNotExecutable

    try:
        status = run(20, security_opt=["seccomp=unconfined"])  # getpid
    except CommandNotExecutable:
        pytest.skip("this kernel runs no 32-bit programs")
    assert status == 0
    return run


def test_the_32_bit_calls_are_filtered_too(run_i386: object) -> None:
    assert callable(run_i386)
    refused = {
        "mount": (21,),
        "unshare": (310, CLONE_NEWUSER),
        "clone": (120, CLONE_NEWUSER | 17, 0),
        "keyctl": (288, 0, 0xFFFFFFFD, 0),
        "add_key": (286, 0, 0, 0, 0, 0),
        "io_uring_setup": (425, 0, 0),
        "bpf": (357, 0, 0, 0),
        "perf_event_open": (336, 0, 0, 0xFFFFFFFF, 0xFFFFFFFF, 0),
        "userfaultfd": (374, 1),
        "fsopen": (430, 0, 0),
        "socket-alg": (359, AF_ALG, SOCK_SEQPACKET, 0),
        "socket-vsock": (359, AF_VSOCK, SOCK_STREAM, 0),
    }
    answers = {name: run_i386(*words) for name, words in refused.items()}
    assert {name: answer for name, answer in answers.items() if answer not in {EPERM, ENOSYS}} == {}
    assert run_i386(435, 0, 0) == ENOSYS, "clone3"


def test_socketcall_is_no_way_around(run_i386: object) -> None:
    """`socketcall` takes its arguments from memory, where no filter sees the family (CVE-2026-31431)."""
    assert callable(run_i386)
    for family, kind in ((AF_ALG, SOCK_SEQPACKET), (AF_VSOCK, SOCK_STREAM)):
        data = struct.pack("<III", family, kind, 0)
        assert run_i386(102, 1, -1, data=data) in {EPERM, ENOSYS, EAFNOSUPPORT}, family
