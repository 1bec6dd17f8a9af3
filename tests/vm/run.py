"""Boots Debian's kernel with nothing but control groups v2 and runs the Rust tests there: `make test-vm`.

Exit status 0: passed, or skipped with the reason (never when `CI=true`); 1: failed.
"""

import argparse
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.vm import initramfs, kernel, machine, programs
from tests.vm.errors import Unavailable

TIMEOUT_S = 600
# The machine ends itself in time, also when nobody is left to end it; this long after, it is ended.
GRACE_S = 30


def main() -> int:
    """Prepare, boot, judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--suite", action="append", choices=sorted(programs.SUITES), help="only this suite")
    parser.add_argument("--timeout", type=int, default=TIMEOUT_S, help="seconds for the whole machine")
    parser.add_argument("arguments", nargs="*", help="for the test programs (`-- --nocapture limits`)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pyrust-ctr-vm-") as folder:
        try:
            return _try(Path(folder), options)
        except Unavailable as reason:
            print(f"==> skipped: tests on a pure control group v2 kernel ({reason})", file=sys.stderr)
            return int(os.environ.get("CI") == "true")
        except subprocess.CalledProcessError as error:
            print(f"==> failed: {error}", file=sys.stderr)
            return 1


def _try(place: Path, options: argparse.Namespace) -> int:
    if platform.machine() != "x86_64" or sys.platform != "linux":
        raise Unavailable("the test programs are built for this machine, and the guest is x86-64 Linux")
    if shutil.which(machine.QEMU) is None:
        raise Unavailable(f"`{machine.QEMU}` is not installed (package `qemu-system-x86`)")
    begun = time.monotonic()
    chosen = kernel.fetch(place)
    built = programs.build(place)
    image = place / "initramfs"
    initramfs.make(image, chosen, built, _init(options))
    size, elapsed = image.stat().st_size >> 20, time.monotonic() - begun
    print(
        f"==> booting Linux {chosen.version} with {size} MiB of files (prepared in {elapsed:.0f} s)",
        flush=True,
    )
    begun = time.monotonic()
    has_passed = machine.boot(machine.command(chosen.image, image), options.timeout + GRACE_S)
    print(f"==> the machine ran for {time.monotonic() - begun:.0f} s: {'passed' if has_passed else 'failed'}")
    return int(not has_passed)


def _init(options: argparse.Namespace) -> bytes:
    lines = [
        shlex.join(["suite", name, *(options.arguments or shlex.split(suite.arguments)), "--test-threads=2"])
        for name, suite in programs.SUITES.items()
        if name in (options.suite or programs.SUITES)
    ]
    text = Path(__file__).with_name("init.sh").read_text()
    return text.replace("@SUITES@", "\n".join(lines)).replace("@TIMEOUT_S@", str(options.timeout)).encode()


if __name__ == "__main__":
    sys.exit(main())
