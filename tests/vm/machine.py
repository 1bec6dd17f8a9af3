"""One boot under emulation: no acceleration is needed, the console is a pipe."""

import selectors
import subprocess
import sys
import time
from pathlib import Path

QEMU = "qemu-system-x86_64"
MACHINE = """
    -accel tcg,thread=multi -cpu max -smp 2 -m 1G -no-reboot
    -nodefaults -no-user-config -display none -monitor none -serial stdio
"""
KERNEL_ARGUMENTS = "console=ttyS0 edd=off loglevel=3 panic=-1 oops=panic random.trust_cpu=on mitigations=off"
PASSED = "vm: passed"


def command(image: Path, initramfs: Path) -> list[str]:
    """The emulator's command line; a panic ends the machine."""
    return [
        QEMU,
        *MACHINE.split(),
        "-kernel",
        str(image),
        "-initrd",
        str(initramfs),
        "-append",
        KERNEL_ARGUMENTS,
    ]


def boot(arguments: list[str], timeout_s: float) -> bool:
    """Show what the machine says until it ends; whether it said that everything passed."""
    with subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as machine:
        try:
            return _follow(machine, time.monotonic() + timeout_s)
        finally:
            machine.kill()


def _follow(machine: subprocess.Popen[bytes], deadline: float) -> bool:
    assert machine.stdout is not None
    has_passed, rest = False, b""
    with selectors.DefaultSelector() as selector:
        selector.register(machine.stdout, selectors.EVENT_READ)
        while selector.select(max(0.0, deadline - time.monotonic())):
            chunk = machine.stdout.read1(65536)  # type: ignore[attr-defined]
            if not chunk:
                return has_passed
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                text = line.decode(errors="replace").rstrip("\r")
                has_passed = has_passed or text == PASSED
                print(text, flush=True)
    print(f"==> the machine did not end in time; it last said: {rest!r}", file=sys.stderr)
    return False
