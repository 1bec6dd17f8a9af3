"""The one sink of the command line: data to stdout, everything else to stderr.

Tables are aligned plain text. `--format` takes `json`, `table TEMPLATE` or a template (see `_template`).
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, Final

from pyrust_ctr.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_MINIMUM_WIDTH: Final = 10
_PADDING: Final = 3


def line(text: str) -> None:
    """One line of data."""
    sys.stdout.write(f"{text}\n")


def raw(data: bytes, *, is_error: bool = False) -> None:
    """Bytes of a container, unchanged; `flush_raw` brings them out."""
    (sys.stderr if is_error else sys.stdout).buffer.write(data)


def flush_raw() -> None:
    """Brings out what `raw` was given."""
    sys.stdout.buffer.flush()
    sys.stderr.buffer.flush()


def note(text: str) -> None:
    """A remark beside the data."""
    try:
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()
    except OSError:  # nobody listens
        pass


def warn(text: str) -> None:
    """Something that the user should know, and that did not stop the command."""
    note(f"WARNING: {text}")


def uses_color(stream: Any = None) -> bool:
    """Whether colour is welcome: a terminal, and no `NO_COLOR`."""
    target = stream if stream is not None else sys.stdout
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb" and bool(target.isatty())


def document(value: Any) -> None:
    """A JSON document, indented as Docker's `inspect` does."""
    import json

    text = json.dumps(value, indent=4, ensure_ascii=False)
    # JSON escapes the control characters of ASCII; terminals obey those behind it as well.
    line("".join(f"\\u{ord(letter):04x}" if "\x7f" <= letter <= "\x9f" else letter for letter in text))


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Left-aligned columns, three spaces apart; the last one is not padded."""
    lines = [list(map(one_line, row)) for row in rows]
    if header:
        lines.insert(0, list(header))
    if not lines:
        return
    columns = max(len(row) for row in lines)
    widths = [
        max(_MINIMUM_WIDTH, *(len(row[column]) + _PADDING for row in lines if column < len(row)))
        for column in range(columns)
    ]
    for row in lines:
        padded = "".join(cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False))
        line(padded + row[-1] if row else "")


def one_line(text: str) -> str:
    """`text` without what would break a table or the terminal."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def listing(
    items: Iterable[Mapping[str, Any]],
    *,
    headers: Mapping[str, str],
    columns: Sequence[str],
    template: str | None,
    quiet: str | None = None,
) -> None:
    """Shows a list of things.

    `headers` names the column title of every field that a template may use, `columns` the fields of the
    usual table, `quiet` the one field to show alone.
    """
    if quiet is not None and template is None:
        for item in items:
            line(str(item[quiet]))
        return
    if template is None or template == "table":
        table([headers[name] for name in columns], ([str(item[name]) for name in columns] for item in items))
        return
    if template == "json":
        template = "{{json .}}"
    from pyrust_ctr.cli._template import Template

    if not template.startswith("table "):
        parsed = Template(_unescape(template))
        for item in items:
            line(parsed.render(item))
        return
    body = _unescape(template.removeprefix("table ").strip())
    parsed = Template(body)
    title = parsed.render(headers)
    table(title.split("\t"), (parsed.render(item).split("\t") for item in items))


def inspection(items: Sequence[Mapping[str, Any]], template: str | None) -> None:
    """Shows whole objects: one JSON list, or a template applied to each."""
    if template is None:
        document(list(items))
        return
    from pyrust_ctr.cli._template import Template

    parsed = Template(_unescape("{{json .}}" if template == "json" else template))
    for item in items:
        line(parsed.render(item))


def _unescape(text: str) -> str:
    if "\0" in text:
        raise InvalidArgument("the format has a NUL character")
    return text.replace("\\t", "\t").replace("\\n", "\n")
