"""From an exception to one sentence on stderr and an exit status: the program's own, 125, 126 or 127."""

from __future__ import annotations

import os
import sys
from typing import Final

from pyrust_ctr.errors import Error

PROGRAM: Final = "pctr"
ENGINE_ERROR: Final = 125
INTERRUPTED: Final = 130
DEBUG_VARIABLE: Final = "PYRUST_CTR_DEBUG"


def report(failure: BaseException) -> int:
    """Prints what failed and what can be done about it; returns the exit status."""
    if isinstance(failure, Error):
        say(str(failure), failure.hint)
        _trace_if_asked(failure)
        return failure.exit_status
    if isinstance(failure, KeyboardInterrupt):
        return INTERRUPTED
    if isinstance(failure, BrokenPipeError):
        _forget_stdout()
        return ENGINE_ERROR
    if _is_usage_error(failure):
        return _report_usage(failure)
    if isinstance(failure, OSError) and failure.filename is not None:
        reason = failure.strerror or str(failure)
        say(f"cannot use `{os.fsdecode(failure.filename)}`: {reason[:1].lower()}{reason[1:]}")
        _trace_if_asked(failure)
        return ENGINE_ERROR
    import traceback

    traceback.print_exception(failure)
    say(f"this is a defect of {PROGRAM}: {type(failure).__name__}: {failure}")
    return ENGINE_ERROR


def say(sentence: str, hint: str = "") -> None:
    """One sentence, and a hint below it."""
    lines = f"{PROGRAM}: {sentence}\n" + (f"{hint}\n" if hint else "")
    try:
        sys.stderr.write(lines)
        sys.stderr.flush()
    except OSError:  # nobody listens; the exit status still tells
        pass


def _is_usage_error(failure: BaseException) -> bool:
    # By what it can do: the class has another name in other versions of typer.
    return hasattr(failure, "format_message") or type(failure).__name__ == "Abort"


def _report_usage(failure: BaseException) -> int:
    context = getattr(failure, "ctx", None)
    if type(failure).__name__ == "NoArgsIsHelpError":
        sys.stdout.write(f"{failure}\n")
        return 0
    format_message = getattr(failure, "format_message", None)
    message = format_message() if format_message is not None else "aborted"
    hint = f"See `{context.command_path} --help`." if context is not None else ""
    say(f"{message[:1].lower()}{message[1:]}".rstrip("."), hint)
    return ENGINE_ERROR


def _trace_if_asked(failure: BaseException) -> None:
    if os.environ.get(DEBUG_VARIABLE):
        import traceback

        traceback.print_exception(failure)


def _forget_stdout() -> None:
    # The interpreter flushes stdout when it ends; give it somewhere to go.
    os.dup2(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), 1)
