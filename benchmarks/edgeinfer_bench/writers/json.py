"""The report itself: indented for people, each column of samples on one line."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from edgeinfer.results import finite
from edgeinfer_bench.report import Report

_NESTED = frozenset((list, tuple, dict))


def json_text(report: Report) -> str:
    """The report as JSON; a number that is not finite becomes null."""
    return _dump(report.to_dict(), "") + "\n"


def _dump(value: Any, indent: str) -> str:
    deeper = indent + "  "
    if isinstance(value, Mapping) and value:
        lines = [f"{deeper}{json.dumps(key)}: {_dump(item, deeper)}" for key, item in value.items()]
        return "{\n" + ",\n".join(lines) + f"\n{indent}}}"
    if isinstance(value, (list, tuple)) and _holds_more(value):
        lines = [deeper + _item(item, deeper) for item in value]
        return "[\n" + ",\n".join(lines) + f"\n{indent}]"
    return _line(value)


def _holds_more(values: Iterable[Any]) -> bool:
    """Whether there is structure inside; columns have a hundred thousand values, all integers."""
    return not _NESTED.isdisjoint(map(type, values))


def _item(value: Any, indent: str) -> str:
    """What is one of many stays on one line if it is flat."""
    flat = isinstance(value, Mapping) and not _holds_more(value.values())
    return _line(value) if flat else _dump(value, indent)


def _line(value: Any) -> str:
    try:
        return json.dumps(value, allow_nan=False)
    except ValueError:
        return json.dumps(finite(value)[0], allow_nan=False)
