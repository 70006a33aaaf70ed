"""The report itself: indented for people, each column of samples on one line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from edgeinfer.results import finite
from edgeinfer_bench.report import Report


def json_text(report: Report) -> str:
    """The report as JSON; a number that is not finite becomes null."""
    return _dump(report.to_dict(), "") + "\n"


def _dump(value: Any, indent: str) -> str:
    deeper = indent + "  "
    if isinstance(value, Mapping) and value:
        lines = [f"{deeper}{json.dumps(key)}: {_dump(item, deeper)}" for key, item in value.items()]
        return "{\n" + ",\n".join(lines) + f"\n{indent}}}"
    if isinstance(value, list) and any(isinstance(item, (list, Mapping)) for item in value):
        lines = [deeper + _dump(item, deeper) for item in value]
        return "[\n" + ",\n".join(lines) + f"\n{indent}]"
    try:
        return json.dumps(value, allow_nan=False)
    except ValueError:
        return json.dumps(finite(value)[0], allow_nan=False)
