"""The part of Go's templates that `--format` needs.

{{.Field}} {{.A.B}} {{json .X}} {{upper .X}} {{lower .X}} {{title .X}} {{len .X}} {{index .X "key"}}
    {{join .X ","}}
{{println .X}} {{range .X}}…{{else}}…{{end}} {{range $k, $v := .X}}…{{end}} {{if .X}}…{{else}}…{{end}}
{{"literal"}} {{.X | json}} {{$}} {{- trimmed -}}
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pyrust_ctr.errors import InvalidArgument

_ACTION: Final = re.compile(r"\{\{(- )?\s*(.*?)\s*( -)?\}\}", re.DOTALL)
_TOKEN: Final = re.compile(r'"(?:[^"\\]|\\.)*"|`[^`]*`|\||:=|,|\(|\)|[^\s|,()]+')
_RANGE_VARIABLES: Final = re.compile(r"\s*(?:(\$\w+)\s*,\s*)?(\$\w+)\s*:=\s*(.*)", re.DOTALL)


@dataclass(slots=True)
class _Block:
    """A `range` or `if` and its two bodies; the root is a block without an action."""

    action: str = ""
    expression: str = ""
    body: list[str | _Block] = field(default_factory=list)
    otherwise: list[str | _Block] = field(default_factory=list)
    in_else: bool = False

    def add(self, node: str | _Block) -> None:
        (self.otherwise if self.in_else else self.body).append(node)


@dataclass(frozen=True, slots=True)
class _Scope:
    dot: Any
    root: Any
    variables: Mapping[str, Any]


class Template:
    """A parsed template; `InvalidArgument` when it does not parse."""

    def __init__(self, text: str) -> None:
        self._root = _parse(text)

    def render(self, value: Any) -> str:
        """The text for one value; `InvalidArgument` when it names a field that the value does not have."""
        return _render(self._root.body, _Scope(value, value, {}))


def _parse(text: str) -> _Block:
    stack = [_Block()]
    position = 0
    trims_next = False
    for match in _ACTION.finditer(text):
        literal = text[position : match.start()]
        if trims_next:
            literal = literal.lstrip()
        if match[1]:
            literal = literal.rstrip()
        trims_next = bool(match[3])
        position = match.end()
        if literal:
            stack[-1].add(_Block("text", literal))
        word, _, rest = match[2].partition(" ")
        if word in {"range", "if"}:
            block = _Block(word, rest.strip())
            stack[-1].add(block)
            stack.append(block)
        elif word in {"else", "end"} and len(stack) == 1:
            raise InvalidArgument(f"the format has `{{{{{word}}}}}` without a beginning")
        elif word == "else":
            stack[-1].in_else = True
        elif word == "end":
            stack.pop()
        else:
            stack[-1].add(match[2])
    if len(stack) > 1:
        raise InvalidArgument(f"the format has `{{{{{stack[-1].action}}}}}` without `{{{{end}}}}`")
    tail = text[position:].lstrip() if trims_next else text[position:]
    if "{{" in tail:
        raise InvalidArgument("the format has `{{` without `}}`")
    if tail:
        stack[0].add(_Block("text", tail))
    return stack[0]


def _render(nodes: Sequence[str | _Block], scope: _Scope) -> str:
    parts: list[str] = []
    for node in nodes:
        if isinstance(node, str):
            parts.append(to_text(_evaluate(node, scope)))
        elif node.action == "text":
            parts.append(node.expression)
        elif node.action == "if":
            parts.append(_render(node.body if _evaluate(node.expression, scope) else node.otherwise, scope))
        else:
            parts.append(_render_range(node, scope))
    return "".join(parts)


def _render_range(block: _Block, scope: _Scope) -> str:
    declared = _RANGE_VARIABLES.fullmatch(block.expression)
    value = _evaluate(declared[3] if declared else block.expression, scope)
    if not value:
        return _render(block.otherwise, scope)
    if isinstance(value, str) or not isinstance(value, Mapping | Sequence):
        raise InvalidArgument(f"the format cannot range over `{block.expression}`")
    pairs = sorted(value.items()) if isinstance(value, Mapping) else enumerate(value)
    parts: list[str] = []
    for key, item in pairs:
        variables = dict(scope.variables)
        if declared:
            variables[declared[2]] = item
            if declared[1]:
                variables[declared[1]] = key
        parts.append(_render(block.body, _Scope(item, scope.root, variables)))
    return "".join(parts)


def _evaluate(expression: str, scope: _Scope) -> Any:
    result: Any = None
    for stage, tokens in enumerate(_split_pipeline(expression)):
        arguments = [_operand(token, scope) for token in tokens[1:]]
        if stage:
            arguments.append(result)
        result = _call(tokens[0], arguments, scope)
    return result


def _split_pipeline(expression: str) -> list[list[str]]:
    stages: list[list[str]] = [[]]
    for token in _TOKEN.findall(expression):
        if token == "|":
            stages.append([])
        else:
            stages[-1].append(token)
    if not all(stages):
        raise InvalidArgument(f"the format has an empty action in `{{{{{expression}}}}}`")
    return stages


def _call(name: str, arguments: list[Any], scope: _Scope) -> Any:
    function = _FUNCTIONS.get(name)
    if function is None:
        if arguments:
            raise InvalidArgument(f"the format uses `{name}`, which is not a function")
        return _operand(name, scope)
    try:
        return function(*arguments)
    except (TypeError, KeyError, IndexError, AttributeError) as cause:
        raise InvalidArgument(f"the format cannot apply `{name}` to `{to_text(arguments)}`") from cause


def _operand(token: str, scope: _Scope) -> Any:
    if token[0] == '"':
        return json.loads(token)
    if token[0] == "`":
        return token[1:-1]
    if token.lstrip("-").isdecimal():
        return int(token)
    if token in {"true", "false"}:
        return token == "true"
    if token[0] not in {".", "$"}:
        raise InvalidArgument(f"the format uses `{token}`, which is not a function")
    head, _, path = token.partition(".")
    value = scope.dot
    if head == "$":
        value = scope.root
    elif head:
        if head not in scope.variables:
            raise InvalidArgument(f"the format uses the variable `{head}`, which is not declared")
        value = scope.variables[head]
    for name in filter(None, path.split(".")):
        if isinstance(value, Mapping) and name in value:
            value = value[name]
        elif value is None:
            return None
        else:
            raise InvalidArgument(f"the format names `.{path}`, and there is no `{name}`")
    return value


def to_text(value: Any) -> str:
    """A value as Go prints it."""
    if value is None:
        return "<no value>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return "map[" + " ".join(f"{key}:{to_text(item)}" for key, item in sorted(value.items())) + "]"
    if isinstance(value, list | tuple):
        return "[" + " ".join(map(to_text, value)) + "]"
    return str(value)


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        value = value.get(key, "") if isinstance(value, Mapping) else value[key]
    return value


_FUNCTIONS: Final[Mapping[str, Any]] = {
    "json": lambda value: json.dumps(value, separators=(",", ":"), ensure_ascii=False),
    "upper": lambda value: value.upper(),
    "lower": lambda value: value.lower(),
    "title": lambda value: value.title(),
    "len": len,
    "index": _index,
    "join": lambda value, separator: separator.join(value),
    "split": lambda value, separator: value.split(separator),
    "println": lambda *values: " ".join(map(to_text, values)) + "\n",
    "print": lambda *values: "".join(map(to_text, values)),
    "not": lambda value: not value,
    "eq": lambda left, *right: any(left == one for one in right),
    "ne": lambda left, right: left != right,
    "truncate": lambda value, width: value[:width],
}
