"""One result as a line for people."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Line = Mapping[str, Any]


def describe(line: Line) -> str:
    """One result for people: ``bus.jpg: 4 person, 1 bus (31.2 ms)``."""
    from edgeinfer.timing import format_ns

    say = next((say for key, say in _SAYING if key in line), None)
    found = say(line) if say is not None else ""
    flags = f" [{', '.join(line['flags'])}]" if line["flags"] else ""
    return f"{line['source']} #{line['frame']}: {found} ({format_ns(line['latency_ns'])}){flags}"


def _named(item: Line) -> str:
    """The label, or ``class 5`` where a bare number would read like a count."""
    return f"class {item['label']}" if item["label"].isdecimal() else str(item["label"])


def _counted(items: Sequence[Line]) -> str:
    counts: dict[str, int] = {}
    for item in items:
        counts[_named(item)] = counts.get(_named(item), 0) + 1
    return ", ".join(f"{count} {label}" for label, count in counts.items()) or "nothing"


def _classes(line: Line) -> str:
    return ", ".join(f"{_named(item)} {item['score']:.1%}" for item in line["classes"]) or "nothing"


def _areas(line: Line) -> str:
    return ", ".join(f"{_named(item)} {item['share']:.1%}" for item in line["areas"][:5])


def _lines(line: Line) -> str:
    texts = [repr(item["text"]) for item in line["lines"] if "text" in item]
    return ", ".join(texts) or f"{len(line['lines'])} lines of text"


def _anomaly(line: Line) -> str:
    said = {None: "no verdict", True: "an anomaly", False: "normal"}[line["is_anomaly"]]
    score = line["anomaly_score"]
    return f"{'no number' if score is None else f'{score:.4g}'}, {said}"


def _outputs(line: Line) -> str:
    return ", ".join(
        f"{name} {item['dtype']} {item['shape']}" for name, item in line["outputs"].items()
    )


# By the key that a task's line has.
_SAYING: Sequence[tuple[str, Callable[[Line], str]]] = (
    ("detections", lambda line: _counted(line["detections"])),
    ("instances", lambda line: _counted(line["instances"])),
    ("classes", _classes),
    ("areas", _areas),
    ("lines", _lines),
    ("embedding", lambda line: f"a vector of {len(line['embedding'])}"),
    ("anomaly_score", _anomaly),
    ("outputs", _outputs),
)
